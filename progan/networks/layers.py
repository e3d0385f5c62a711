"""The layers that the networks are made of, and those that only the paper's comparisons need (Table 1)."""

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from progan.operations import conv2d, downsample, leaky_relu, upsample


def pixel_norm(x: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Scale each pixel's feature vector to unit mean square (Karras et al. 2018, §4.2). x: [N, C, …]."""
    return F.rms_norm(x.movedim(1, -1), x.shape[1:2], eps=epsilon).movedim(-1, 1)


def at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def per_map(values: Tensor) -> Tensor:
    """[maps] or [N, maps] → [1 or N, maps, 1, 1], to be applied to [N, maps, H, W]."""
    return values.view(-1, values.shape[-1], 1, 1)


def channels_last(x: Tensor) -> Tensor:
    """The same values, with the channels of each pixel side by side in memory: convolutions are faster so."""
    return x.contiguous(memory_format=torch.channels_last)


class LayerForm(NamedTuple):
    """What layers of a network have in common: learning rate, activation and normalisation."""

    equalized_lr: bool
    activation: str  # leaky-relu | relu | linear
    norm: str  # pixel | batch | layer | none
    bias: bool = True
    learning_rate: float = 1.0  # a factor on the optimiser's, by a smaller scale of larger parameters


class Layer(nn.Module):
    """Weights from N(0, 1), scaled by gain / √fan_in at run time; then activation and normalisation.

    That is the equalised learning rate (Karras et al. 2018, §4.1); without it, the initial weights are scaled
    (He et al. 2015). Pixel norm follows the activation; batch and layer norm precede it, and their bias
    replaces the layer's.
    """

    WORK: ClassVar[float] = 1.0  # multiplications for each weight and pixel of the block

    def __init__(
        self, weight_shape: tuple[int, ...], outputs: int, form: LayerForm, gain: float = math.sqrt(2)
    ) -> None:
        super().__init__()
        scale = gain / math.sqrt(math.prod(weight_shape[1:]))
        self.multiplier = form.learning_rate * (scale if form.equalized_lr else 1.0)
        self.weight = nn.Parameter(torch.randn(weight_shape) * (scale / self.multiplier))
        self.form = form
        self.bias: nn.Parameter | None = None
        if form.norm in ("batch", "layer"):
            self.norm = nn.BatchNorm2d(outputs, eps=1e-4) if form.norm == "batch" else LayerNorm(outputs)
        elif form.bias:
            self.bias = nn.Parameter(torch.zeros(outputs))

    def scaled(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The scaled weight and the bias, in the precision of the layer's input `x`."""
        weight = (self.weight * self.multiplier).to(x.dtype)
        if self.bias is None:
            return weight, None
        bias = self.bias if self.form.learning_rate == 1 else self.bias * self.form.learning_rate
        return weight, bias.to(x.dtype)

    def finish(self, x: Tensor) -> Tensor:
        """Activation and normalisation of the biased sums. x: [N, outputs, …] → the same shape."""
        if self.form.norm in ("batch", "layer"):
            x = self.norm(x)
        if self.form.activation != "linear":
            x = leaky_relu(x) if self.form.activation == "leaky-relu" else torch.relu(x)
        return pixel_norm(x) if self.form.norm == "pixel" else x


class Conv(Layer):
    """A convolution that keeps the size. [N, inputs, H, W] → [N, outputs, H, W]."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, form: LayerForm, gain: float = math.sqrt(2)
    ) -> None:
        super().__init__((outputs, inputs, kernel, kernel), outputs, form, gain)

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(conv2d(x, *self.scaled(x), padding=self.weight.shape[-1] // 2))


class UpConv(Conv):
    """Double the size, then convolve. [N, inputs, H, W] → [N, outputs, 2H, 2W]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(upsample(x))


class DownConv(Conv):
    """Convolve, then halve the size. [N, inputs, H, W] → [N, outputs, H/2, W/2]."""

    def forward(self, x: Tensor) -> Tensor:
        return downsample(super().forward(x))


class Dense(Layer):
    """A fully connected layer. [N, …] → [N, outputs]."""

    def __init__(self, inputs: int, outputs: int, form: LayerForm, gain: float = math.sqrt(2)) -> None:
        super().__init__((outputs, inputs), outputs, form, gain)

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(F.linear(x.flatten(1), *self.scaled(x)))


class FirstDense(Layer):
    """Latents to the first 4×4 maps, with one bias per map. [N, inputs] → [N, maps, 4, 4]."""

    def __init__(self, inputs: int, maps: int, form: LayerForm) -> None:
        super().__init__((maps * 16, inputs), maps, form, gain=math.sqrt(2) / 4)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.scaled(x)
        maps = channels_last(F.linear(x, weight).unflatten(1, (-1, 4, 4)))
        return self.finish(maps if bias is None else maps + bias.view(1, -1, 1, 1))


class MinibatchStddev(nn.Module):
    """Append one feature map that measures the variation within the minibatch (Karras et al. 2018, §3).

    [N, C, H, W] → [N, C + 1, H, W]. A group is `min(group_size, N)` images, N / group apart; its value is
    the standard deviation over the group, averaged over features and pixels.
    Raises ValueError when N is not a multiple of the group.
    """

    def __init__(self, group_size: int) -> None:
        super().__init__()
        self.group_size = group_size

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        group = min(self.group_size, n)
        if n % group:
            raise ValueError(f"minibatch {n} is not a multiple of the minibatch-stddev group {group}")
        grouped = at_least_float32(x).view(group, n // group, c, h, w)
        centred = grouped - grouped.mean(dim=0)
        deviation = torch.sqrt(centred.square().mean(dim=0) + 1e-8)  # [N/G, C, H, W]
        statistic = deviation.mean(dim=(1, 2, 3)).repeat(group)  # [N]
        return torch.cat([x, statistic.to(x.dtype).view(n, 1, 1, 1).expand(n, 1, h, w)], dim=1)


# ------------------------------------------------------------------------------------------------
# Layers of the networks that the paper compares its final ones with


class FusedUpConv(Conv):
    """UpConv as one transposed convolution: the same function of the same weights."""

    WORK = 16 / 9 / 4  # 4 × 4 weights, at a quarter of the pixels

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.scaled(x)
        kernel = 4 * fused_kernel(weight.flip(2, 3)).transpose(0, 1)
        return self.finish(F.conv_transpose2d(x, kernel, bias, stride=2, padding=1))


class FusedDownConv(Conv):
    """DownConv as one strided convolution, but with bias and activation after the downsampling."""

    WORK = 16 / 9 / 4

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.scaled(x)
        return self.finish(conv2d(x, fused_kernel(weight), bias, stride=2, padding=1))


def fused_kernel(weight: Tensor) -> Tensor:
    """The kernel of a 3×3 convolution followed by a 2×2 mean. [out, in, 3, 3] → [out, in, 4, 4]."""
    return F.avg_pool2d(weight, 2, stride=1, padding=1)


class LayerNorm(nn.Module):
    """Normalise each image's features to mean 0 and variance 1, then apply a gain and a bias per map.

    [N, maps, …] → the same shape. The whole layer has a single gain, as in the authors' code.
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(maps))

    def forward(self, x: Tensor) -> Tensor:
        gain, bias = self.gain.to(x.dtype), self.bias.to(x.dtype)
        return F.group_norm(x, 1, gain.expand_as(bias), bias, eps=1e-4)


class MinibatchDiscrimination(nn.Module):
    """Append to each image's features its closeness to the rest of the minibatch (Salimans et al. 2016).

    [N, …] → [N, features + kernels]: for each kernel Σ exp(-distance) over the other images, plus a bias;
    the distance is L1 between 5 projections whose directions and scales are learnt.
    """

    DIMENSIONS = 5

    def __init__(self, features: int, kernels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.05 * torch.randn(features, kernels, self.DIMENSIONS))
        self.log_scale = nn.Parameter(torch.zeros(kernels, self.DIMENSIONS))
        self.bias = nn.Parameter(torch.full((kernels,), -1.0))

    def forward(self, x: Tensor) -> Tensor:
        x = at_least_float32(x.flatten(1))
        return torch.cat([x, torch.exp(-self.distances(x)).sum(dim=1) + self.bias], dim=1)

    def distances(self, x: Tensor) -> Tensor:
        """[N, features] → [N, N, kernels]; an image's distance to itself is too large to count."""
        weight = self.weight * torch.exp(self.log_scale) / self.weight.square().sum(dim=0).sqrt()
        projected = torch.tensordot(x, weight, 1)  # [N, kernels, 5]
        distances = (projected[:, None] - projected[None]).abs().sum(dim=3)
        return distances + 1e6 * torch.eye(len(x), dtype=x.dtype, device=x.device)[:, :, None]

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Initialise scales and biases from features of real images, as in Salimans et al.'s code.

        x: [N, …]. On average over `x`, half the distance to the nearest other image becomes 1 and the
        appended features become 0.
        """
        distances = self.distances(x.flatten(1))
        unit = distances.amin(dim=1).mean(dim=0) / 2  # [kernels]
        self.log_scale.sub_(unit.log()[:, None])
        self.bias.copy_(-torch.exp(-distances / unit).sum(dim=1).mean(dim=0))
