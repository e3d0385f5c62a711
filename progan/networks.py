"""Generator and discriminator of Karras et al. 2018 (paper §2–§4, appendix A), readable top to bottom.

Both are built for one phase's resolution out of per-level modules whose state keys never change
(`blocks.r0008.conv0.weight`, `to_rgb.r0004.bias`, …), so a finished phase loads into the next by name.
This file needs torch alone: a registered model ships it beside its weights.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAKY_SLOPE = 0.2


def level_key(resolution: int) -> str:
    """The name of the modules that belong to `resolution`: 8 → "r0008"."""
    return f"r{resolution:04d}"


def levels_up_to(resolution: int) -> list[int]:
    """[4, 8, …, resolution]."""
    return [2**level for level in range(2, resolution.bit_length())]


def leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, LEAKY_SLOPE)


def pixel_norm(x: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Scale each pixel's feature vector to unit mean square (paper §4.2). x: [N, C, …]."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + epsilon)


def upsample(x: Tensor) -> Tensor:
    """Repeat each pixel 2×2: [N, C, H, W] → [N, C, 2H, 2W]."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def downsample(x: Tensor) -> Tensor:
    """Mean of each 2×2 block: [N, C, H, W] → [N, C, H/2, W/2]."""
    return F.avg_pool2d(x, 2)


def minibatch_stddev(x: Tensor, group_size: int) -> Tensor:
    """Append one map that says how much the minibatch varies (paper §3).

    x: [N, C, H, W] → [N, C + 1, H, W]. A group is `min(group_size, N)` images, N / group apart; its
    value is the standard deviation over the group, averaged over features and pixels.
    Raises ValueError when N is not a multiple of the group.
    """
    n, c, h, w = x.shape
    group = min(group_size, n)
    if n % group:
        raise ValueError(f"minibatch {n} is not a multiple of the minibatch-stddev group {group}")
    grouped = x.view(group, n // group, c, h, w)
    deviation = torch.sqrt(grouped.var(dim=0, correction=0) + 1e-8)  # [N/G, C, H, W]
    statistic = deviation.mean(dim=(1, 2, 3)).repeat(group)  # [N]
    return torch.cat([x, statistic.view(n, 1, 1, 1).expand(n, 1, h, w)], dim=1)


class EqualizedLayer(nn.Module):
    """Weights drawn from N(0, 1) and multiplied by gain / √fan_in at run time (paper §4.1)."""

    def __init__(self, weight_shape: tuple[int, ...], biases: int, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(weight_shape))
        self.bias = nn.Parameter(torch.zeros(biases))
        self.multiplier = gain / math.sqrt(math.prod(weight_shape[1:]))

    def scaled_weight(self) -> Tensor:
        return self.weight * self.multiplier


class Conv(EqualizedLayer):
    """A convolution with equalised learning rate that keeps the size. [N, in, H, W] → [N, out, H, W]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, gain: float = math.sqrt(2)) -> None:
        super().__init__((outputs, inputs, kernel, kernel), outputs, gain)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.scaled_weight(), self.bias, padding=self.weight.shape[-1] // 2)


class Dense(EqualizedLayer):
    """A fully connected layer with equalised learning rate. [N, in] → [N, out]."""

    def __init__(self, inputs: int, outputs: int, gain: float = math.sqrt(2)) -> None:
        super().__init__((outputs, inputs), outputs, gain)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.scaled_weight(), self.bias)


class FirstDense(EqualizedLayer):
    """Latents to the first 4×4 maps, one bias a map. [N, latent] → [N, maps, 4, 4]."""

    def __init__(self, inputs: int, maps: int) -> None:
        super().__init__((maps * 16, inputs), maps, gain=math.sqrt(2) / 4)

    def forward(self, x: Tensor) -> Tensor:
        maps = F.linear(x, self.scaled_weight()).view(x.shape[0], -1, 4, 4)
        return maps + self.bias.view(1, -1, 1, 1)


class GeneratorStart(nn.Module):
    """The 4×4 block: [N, latent] → [N, maps, 4, 4]."""

    def __init__(self, inputs: int, maps: int) -> None:
        super().__init__()
        self.dense = FirstDense(inputs, maps)
        self.conv = Conv(maps, maps, 3)

    def forward(self, latents: Tensor) -> Tensor:
        x = pixel_norm(leaky_relu(self.dense(pixel_norm(latents))))
        return pixel_norm(leaky_relu(self.conv(x)))


class GeneratorBlock(nn.Module):
    """Double the size: [N, inputs, H, W] → [N, outputs, 2H, 2W]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = Conv(inputs, outputs, 3)
        self.conv1 = Conv(outputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = pixel_norm(leaky_relu(self.conv0(upsample(x))))
        return pixel_norm(leaky_relu(self.conv1(x)))


class DiscriminatorBlock(nn.Module):
    """Halve the size: [N, inputs, H, W] → [N, outputs, H/2, W/2]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = Conv(inputs, inputs, 3)
        self.conv1 = Conv(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = leaky_relu(self.conv0(x))
        return downsample(leaky_relu(self.conv1(x)))


class DiscriminatorEnd(nn.Module):
    """The 4×4 block: minibatch stddev, then [N, maps, 4, 4] → [N, 1 + labels]."""

    def __init__(self, maps: int, hidden: int, outputs: int, mbstd_group_size: int) -> None:
        super().__init__()
        self.mbstd_group_size = mbstd_group_size
        self.conv = Conv(maps + (mbstd_group_size > 1), maps, 3)
        self.dense0 = Dense(maps * 16, hidden)
        self.dense1 = Dense(hidden, outputs, gain=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.mbstd_group_size > 1:
            x = minibatch_stddev(x, self.mbstd_group_size)
        x = leaky_relu(self.conv(x))
        return self.dense1(leaky_relu(self.dense0(x.flatten(1))))


class FeatureMaps:
    """The channel rule: min(⌊base / 2^(stage · decay)⌋, max) maps after a stage (paper, appendix A)."""

    def __init__(self, base: int, decay: float, maximum: int) -> None:
        self.base, self.decay, self.maximum = base, decay, maximum

    def after(self, stage: int) -> int:
        return min(int(self.base / 2 ** (stage * self.decay)), self.maximum)

    def at(self, resolution: int) -> int:
        """Maps of the block at `resolution` = 2^r: those after stage r - 1."""
        return self.after(resolution.bit_length() - 2)


class Generator(nn.Module):
    """Latents to images at `resolution`, the newest layers faded in by `alpha` (paper §2).

    forward: latents float [N, latent_size + label_size], alpha a 0-d tensor in [0, 1] or None once the
    fade is over → images float [N, channels, resolution, resolution], about [-1, 1], not clipped.
    """

    def __init__(
        self, resolution: int, latent_size: int, maps: FeatureMaps, channels: int = 3, label_size: int = 0
    ) -> None:
        super().__init__()
        self.resolution = resolution
        start, *grown = levels = levels_up_to(resolution)
        blocks: dict[str, nn.Module] = {
            level_key(start): GeneratorStart(latent_size + label_size, maps.at(start))
        }
        blocks |= {level_key(level): GeneratorBlock(maps.at(level // 2), maps.at(level)) for level in grown}
        self.blocks = nn.ModuleDict(blocks)
        self.to_rgb = nn.ModuleDict(
            {level_key(level): Conv(maps.at(level), channels, 1, gain=1) for level in levels}
        )

    def forward(self, latents: Tensor, alpha: Tensor | None = None) -> Tensor:
        x, before = latents, latents
        for block in self.blocks.values():
            x, before = block(x), x
        images = self.to_rgb[level_key(self.resolution)](x)
        if alpha is None:
            return images
        previous = upsample(self.to_rgb[level_key(self.resolution // 2)](before))
        return torch.lerp(previous, images, alpha)


class Discriminator(nn.Module):
    """Images at `resolution` to scores, the newest layers faded in by `alpha` (paper §2).

    forward: images float [N, channels, resolution, resolution], alpha as in Generator
    → float [N, 1 + label_size]: column 0 the score, the rest class logits.
    """

    def __init__(
        self,
        resolution: int,
        maps: FeatureMaps,
        channels: int = 3,
        label_size: int = 0,
        mbstd_group_size: int = 4,
    ) -> None:
        super().__init__()
        self.resolution = resolution
        *grown, end = levels = levels_up_to(resolution)[::-1]
        self.from_rgb = nn.ModuleDict(
            {level_key(level): Conv(channels, maps.at(level), 1) for level in levels}
        )
        blocks: dict[str, nn.Module] = {
            level_key(level): DiscriminatorBlock(maps.at(level), maps.at(level // 2)) for level in grown
        }
        blocks[level_key(end)] = DiscriminatorEnd(
            maps.at(end), maps.after(0), 1 + label_size, mbstd_group_size
        )
        self.blocks = nn.ModuleDict(blocks)

    def forward(self, images: Tensor, alpha: Tensor | None = None) -> Tensor:
        newest, *rest = self.blocks.values()
        x = newest(leaky_relu(self.from_rgb[level_key(self.resolution)](images)))
        if alpha is not None:
            previous = leaky_relu(self.from_rgb[level_key(self.resolution // 2)](downsample(images)))
            x = torch.lerp(previous, x, alpha)
        for block in rest:
            x = block(x)
        return x


def fade_reals(images: Tensor, alpha: Tensor | None) -> Tensor:
    """Fade real images as the networks are faded: between half resolution and full (as in the authors' code).

    images: float [N, C, H, W] → the same shape.
    """
    if alpha is None:
        return images
    return torch.lerp(upsample(downsample(images)), images, alpha)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels from 0 to `classes` - 1 as the generator takes them: int64 [N] → float [N, classes]."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)).to(torch.get_default_dtype())
