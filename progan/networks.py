"""Generator and discriminator of Karras et al. 2018 (paper §2–§4, appendix A), readable top to bottom.

Both are built for one phase's resolution out of per-level modules whose state keys never change
(`blocks.r0008.conv0.weight`, `to_rgb.r0004.bias`, …), so a finished phase loads into the next by name.
`network` is that section of params.yaml: a NetworkConfig, or anything with its attributes. Layers that only
the networks need which the paper compares its final ones with (Table 1, the MNIST-1K test) come last.
A registered model ships this file and what it imports with its weights; they need nothing but torch.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from progan.operations import conv2d, downsample, leaky_relu, upsample
from progan.resolutions import FeatureMaps, phase_key, resolutions_between

if TYPE_CHECKING:
    from progan.config import NetworkConfig


def pixel_norm(x: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Scale each pixel's feature vector to unit mean square (paper §4.2). x: [N, C, …]."""
    return F.rms_norm(x.movedim(1, -1), x.shape[1:2], eps=epsilon).movedim(-1, 1)


def at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def channels_last(x: Tensor) -> Tensor:
    """The same values, with the channels of each pixel side by side in memory: convolutions are faster so."""
    return x.contiguous(memory_format=torch.channels_last)


# ------------------------------------------------------------------------------------------------
# Layers


class LayerForm(NamedTuple):
    """What the layers of a network have in common: learning rate, activation and normalisation."""

    equalized_lr: bool
    activation: str  # leaky-relu | relu | linear
    norm: str  # pixel | batch | layer | none


class Layer(nn.Module):
    """Weights from N(0, 1), scaled by gain / √fan_in at run time (paper §4.1), then activation and norm.

    Without equalised learning rate the initial weights are scaled instead (He et al. 2015). Pixel norm
    follows the activation; batch and layer norm precede it, and their bias replaces the layer's.
    """

    def __init__(
        self, weight_shape: tuple[int, ...], outputs: int, form: LayerForm, gain: float = math.sqrt(2)
    ) -> None:
        super().__init__()
        scale = gain / math.sqrt(math.prod(weight_shape[1:]))
        self.multiplier = scale if form.equalized_lr else 1.0
        self.weight = nn.Parameter(torch.randn(weight_shape) * (scale / self.multiplier))
        self.form = form
        self.bias: nn.Parameter | None = None
        if form.norm in ("batch", "layer"):
            self.norm = nn.BatchNorm2d(outputs, eps=1e-4) if form.norm == "batch" else LayerNorm(outputs)
        else:
            self.bias = nn.Parameter(torch.zeros(outputs))

    def scaled(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The scaled weight and the bias, in the precision of the layer's input `x`."""
        weight = (self.weight * self.multiplier).to(x.dtype)
        return weight, None if self.bias is None else self.bias.to(x.dtype)

    def finish(self, x: Tensor) -> Tensor:
        """Activation and normalisation of the biased sums. x: [N, outputs, …] → the same shape."""
        if self.bias is None:
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
    """Append one feature map that measures the variation within the minibatch (paper §3).

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
# Networks


class GeneratorStart(nn.Sequential):
    """The 4×4 block: [N, latent_size + label_size] → [N, maps, 4, 4]."""

    def __init__(self, network: "NetworkConfig", maps: int, form: LayerForm) -> None:
        super().__init__()
        self.dense = FirstDense(network.latent_size + network.label_size, maps, form)
        if network.convs_per_block > 1:
            self.conv = Conv(maps, maps, 3, form)


class GeneratorBlock(nn.Sequential):
    """Double the size: [N, inputs, H, W] → [N, outputs, 2H, 2W]."""

    def __init__(self, network: "NetworkConfig", inputs: int, outputs: int, form: LayerForm) -> None:
        super().__init__()
        self.conv0 = (FusedUpConv if network.fused_scaling else UpConv)(inputs, outputs, 3, form)
        if network.convs_per_block > 1:
            self.conv1 = Conv(outputs, outputs, 3, form)


class DiscriminatorBlock(nn.Sequential):
    """Halve the size: [N, inputs, H, W] → [N, outputs, H/2, W/2]."""

    def __init__(self, network: "NetworkConfig", inputs: int, outputs: int, form: LayerForm) -> None:
        super().__init__()
        if network.convs_per_block > 1:
            self.conv0 = Conv(inputs, inputs, 3, form)
        self.conv1 = (FusedDownConv if network.fused_scaling else DownConv)(inputs, outputs, 3, form)


class DiscriminatorEnd(nn.Sequential):
    """The 4×4 block: [N, maps, 4, 4] → [N, 1 + label_size]."""

    def __init__(self, network: "NetworkConfig", maps: int, hidden: int, form: LayerForm) -> None:
        super().__init__()
        inputs = maps
        if network.mbstd_group_size > 1:
            self.mbstd = MinibatchStddev(network.mbstd_group_size)
            inputs = maps + 1
        features = inputs * 16
        if network.convs_per_block > 1:
            self.conv = Conv(inputs, maps, 3, form)
            self.dense0 = Dense(maps * 16, hidden, form)
            features = hidden
        if network.minibatch_discrimination:
            self.mbdisc = MinibatchDiscrimination(features, network.minibatch_discrimination)
            features += network.minibatch_discrimination
        linear = form._replace(activation="linear", norm="none")
        self.dense1 = Dense(features, 1 + network.label_size, linear, gain=1)


class Generator(nn.Module):
    """Latents to images at `resolution`, the newest layers faded in by `alpha` (paper §2).

    forward: latents float [N, latent_size + label_size], one-hot labels last, alpha a 0-d tensor in [0, 1]
    or None once the fade is over → images float [N, channels, resolution, resolution], about [-1, 1],
    not clipped. The layers compute in the precision of the latents; the images are float32 at least.
    """

    def __init__(self, network: "NetworkConfig", resolution: int) -> None:
        super().__init__()
        self.network, self.resolution = network, resolution
        form = LayerForm(network.equalized_lr, network.generator_activation, network.generator_norm)
        linear = form._replace(activation="linear", norm="none")
        maps = FeatureMaps(network)
        start, *grown = levels = resolutions_between(4, resolution)
        blocks: dict[str, nn.Module] = {phase_key(start): GeneratorStart(network, maps.at(start), form)}
        for level in grown:
            blocks[phase_key(level)] = GeneratorBlock(network, maps.at(level // 2), maps.at(level), form)
        self.blocks = nn.ModuleDict(blocks)
        self.to_rgb = nn.ModuleDict(
            {phase_key(level): Conv(maps.at(level), network.channels, 1, linear, gain=1) for level in levels}
        )

    def forward(self, latents: Tensor, alpha: Tensor | None = None) -> Tensor:
        return self.grow(self.start(latents), alpha)

    def start(self, latents: Tensor) -> Tensor:
        """Latents through the 4×4 block: [N, latent_size + label_size] → [N, maps, 4, 4]."""
        return self.blocks[phase_key(4)](self.normalized(latents))

    def grow(self, x: Tensor, alpha: Tensor | None = None) -> Tensor:
        """The output of `start` to images: [N, maps, 4, 4] → [N, channels, resolution, resolution]."""
        before = x
        for key, block in self.blocks.items():
            if key != phase_key(4):
                x, before = block(x), x
        images = at_least_float32(self.to_rgb[phase_key(self.resolution)](x))
        if alpha is not None:
            previous = upsample(at_least_float32(self.to_rgb[phase_key(self.resolution // 2)](before)))
            images = torch.lerp(previous, images, alpha)
        return torch.tanh(images) if self.network.output == "tanh" else images

    def normalized(self, latents: Tensor) -> Tensor:
        """Apply pixel norm to the latents, to latents and labels, or to neither (network.latent_norm)."""
        if self.network.latent_norm == "none":
            return latents
        if self.network.latent_norm == "with-labels":
            return pixel_norm(latents)
        latents, labels = latents.split([self.network.latent_size, self.network.label_size], dim=1)
        return torch.cat([pixel_norm(latents), labels], dim=1)


class Discriminator(nn.Module):
    """Images at `resolution` to scores, the newest layers faded in by `alpha` (paper §2).

    forward: images float [N, channels, resolution, resolution], alpha as in Generator
    → float [N, 1 + label_size]: column 0 the score, the rest class logits. The layers compute in the
    precision of the images; the scores are float32 at least.
    """

    def __init__(self, network: "NetworkConfig", resolution: int) -> None:
        super().__init__()
        self.resolution = resolution
        form = LayerForm(network.equalized_lr, "leaky-relu", network.discriminator_norm)
        plain = form._replace(norm="none")
        maps = FeatureMaps(network, network.discriminator_divisor)
        *grown, end = levels = resolutions_between(4, resolution)[::-1]
        self.from_rgb = nn.ModuleDict(
            {phase_key(level): Conv(network.channels, maps.at(level), 1, plain) for level in levels}
        )
        blocks: dict[str, nn.Module] = {}
        for level in grown:
            blocks[phase_key(level)] = DiscriminatorBlock(network, maps.at(level), maps.at(level // 2), form)
        blocks[phase_key(end)] = DiscriminatorEnd(network, maps.at(end), maps.after(0), form)
        self.blocks = nn.ModuleDict(blocks)

    def forward(self, images: Tensor, alpha: Tensor | None = None) -> Tensor:
        return self.end(self.features(images, alpha))

    def features(self, images: Tensor, alpha: Tensor | None = None) -> Tensor:
        """The input of the 4×4 block, of each image alone: [N, channels, R, R] → [N, maps, 4, 4]."""
        images = channels_last(images)
        x = self.from_rgb[phase_key(self.resolution)](images)
        for key, block in self.blocks.items():
            if key != phase_key(4):
                x = block(x)
            if key == phase_key(self.resolution) and alpha is not None:
                previous = self.from_rgb[phase_key(self.resolution // 2)](downsample(images))
                x = torch.lerp(previous, x, alpha.to(x.dtype))
        return x

    def end(self, x: Tensor) -> Tensor:
        """The 4×4 block, in which the images of a minibatch meet: [N, maps, 4, 4] → [N, 1 + label_size]."""
        return at_least_float32(self.blocks[phase_key(4)](x))

    def calibrate(self, images: Tensor) -> None:
        """Initialise minibatch discrimination from real `images`, the input of forward after the fade."""
        last = next(layer for layer in self.modules() if isinstance(layer, MinibatchDiscrimination))
        hook = last.register_forward_pre_hook(lambda layer, inputs: layer.calibrate(*inputs))
        with torch.no_grad():
            self(images)
        hook.remove()


def build_networks(network: "NetworkConfig", resolution: int) -> tuple[Generator, Discriminator]:
    """New networks for a phase at `resolution`, with random weights."""
    return Generator(network, resolution), Discriminator(network, resolution)


def fade_reals(images: Tensor, alpha: Tensor | None) -> Tensor:
    """Fade real images as the networks are faded: between half resolution and full (as in the authors' code).

    images: float [N, C, H, W] → the same shape.
    """
    if alpha is None:
        return images
    return torch.lerp(upsample(downsample(images)), images, alpha)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """One-hot labels, an input of the generator: int64 [N], 0 … `classes` - 1 → float [N, classes]."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)).to(torch.get_default_dtype())


# ------------------------------------------------------------------------------------------------
# Layers of the networks that the paper compares its final ones with


class FusedUpConv(Conv):
    """UpConv as one transposed convolution: the same function of the same weights."""

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.scaled(x)
        kernel = 4 * fused_kernel(weight.flip(2, 3)).transpose(0, 1)
        return self.finish(F.conv_transpose2d(x, kernel, bias, stride=2, padding=1))


class FusedDownConv(Conv):
    """DownConv as one strided convolution, but with bias and activation after the downsampling."""

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
