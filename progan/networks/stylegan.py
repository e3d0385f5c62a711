"""Generator and discriminator of Karras et al. 2019, "A Style-Based Generator Architecture for GANs".

It grows as Progressive GAN does. Sections and tables are those of this paper, unless another is named.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from progan.networks import progan
from progan.networks.layers import (
    Conv,
    Dense,
    FusedDownConv,
    LayerForm,
    at_least_float32,
    channels_last,
    per_map,
)
from progan.networks.styles import LINEAR, Noise, StyleGenerator
from progan.operations import blur, leaky_relu, upsample
from progan.resolutions import phase_key, resolutions_between

if TYPE_CHECKING:
    from progan.network_config import StyleganConfig
    from progan.randomness import Randomness


class Epilogue(nn.Module):
    """What follows each convolution: noise B, bias, leaky ReLU, and AdaIN with the style A (figure 1b).

    AdaIN(x, y) = y_s (x - μ(x)) / σ(x) + y_b, mean and deviation of each map of each image (equation 1).
    x: [N, maps, side, side], w: [N, style_size] → the shape of x.
    """

    def __init__(self, network: "StyleganConfig", maps: int, side: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(maps))
        self.style = Dense(network.style_size, 2 * maps, LINEAR, gain=1)  # of y_s - 1 and y_b
        self.noise = Noise(maps, side) if network.noise else None

    def forward(self, x: Tensor, w: Tensor, randomness: "Randomness | None") -> Tensor:
        if self.noise:
            x = self.noise(x, randomness)
        x = leaky_relu(x + per_map(self.bias.to(x.dtype)))
        scale, shift = at_least_float32(self.style(w)).chunk(2, dim=1)
        return (instance_norm(x) * (per_map(scale) + 1) + per_map(shift)).to(x.dtype)


def instance_norm(x: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Give each map of each image mean 0 and deviation 1: [N, C, H, W] → the same shape, float32 at least."""
    x = at_least_float32(x)
    centred = x - x.mean(dim=(2, 3), keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(dim=(2, 3), keepdim=True) + epsilon)


class Input(nn.Module):
    """The first maps, [N, maps, 4, 4]: a learnt constant (config D), or a layer of w, [N, style_size]."""

    def __init__(self, network: "StyleganConfig", maps: int) -> None:
        super().__init__()
        if network.constant_input:
            self.constant = nn.Parameter(torch.ones(1, maps, 4, 4))
        else:
            self.dense = Dense(network.style_size, maps * 16, LINEAR._replace(bias=False), gain=2**0.5 / 4)

    def forward(self, w: Tensor) -> Tensor:
        if hasattr(self, "constant"):
            return channels_last(self.constant.to(w.dtype).expand(w.shape[0], -1, -1, -1))
        return channels_last(self.dense(w).unflatten(1, (-1, 4, 4)))


class GeneratorBlock(nn.Module):
    """Two layers with a style each. The first block is fed by `input`, the others double the size.

    forward: x [N, inputs, H, W] (None for the first block), a style w [N, style_size] for each layer
    → [N, outputs, side, side].
    """

    def __init__(self, network: "StyleganConfig", inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        form = LINEAR._replace(bias=False)
        if side == 4:
            self.input = Input(network, outputs)
        else:
            self.conv0 = Conv(inputs, outputs, 3, form)
        self.epilogue0 = Epilogue(network, outputs, side)
        self.conv1 = Conv(outputs, outputs, 3, form)
        self.epilogue1 = Epilogue(network, outputs, side)

    def forward(self, x: Tensor | None, w0: Tensor, w1: Tensor, randomness: "Randomness | None") -> Tensor:
        x = self.input(w0) if x is None else blur(self.conv0(upsample(x)))
        x = self.epilogue0(x, w0, randomness)
        return self.epilogue1(self.conv1(x), w1, randomness)


class Generator(StyleGenerator):
    """`grow` is the synthesis network g (figure 1b)."""

    Block = GeneratorBlock

    network: "StyleganConfig"

    def __init__(self, network: "StyleganConfig", resolution: int) -> None:
        super().__init__(network, resolution)
        maps, levels = network.feature_maps(), resolutions_between(4, resolution)
        self.to_rgb = nn.ModuleDict(
            {phase_key(level): Conv(maps.at(level), network.channels, 1, LINEAR, gain=1) for level in levels}
        )

    def truncate(self, x: Tensor, center: Tensor, truncation: float | Tensor) -> Tensor:
        """w' = w̄ + ψ (w - w̄) in the layers before the cutoff (appendix B): → [N, layers, style_size]."""
        truncated = torch.arange(self.layers, device=x.device) < self.network.truncation_cutoff
        return torch.where(truncated[:, None], torch.lerp(center, x, truncation)[:, None], x[:, None])

    def grow(self, x: Tensor, alpha: Tensor | None = None) -> Tensor:
        styles = self.per_layer(x)
        maps, before = None, None
        for block, w0, w1 in zip(self.blocks.values(), styles[::2], styles[1::2], strict=True):
            maps, before = block(maps, w0, w1, self.randomness), maps
        images = at_least_float32(self.to_rgb[phase_key(self.resolution)](maps))
        if alpha is not None:
            previous = upsample(at_least_float32(self.to_rgb[phase_key(self.resolution // 2)](before)))
            images = torch.lerp(previous, images, alpha)
        return images


class DiscriminatorBlock(nn.Module):
    """Halve the size, after a blur: [N, inputs, H, W] → [N, outputs, H/2, W/2]."""

    def __init__(self, network: "StyleganConfig", inputs: int, outputs: int, form: LayerForm) -> None:
        super().__init__()
        self.conv0 = Conv(inputs, inputs, 3, form)
        self.conv1 = FusedDownConv(inputs, outputs, 3, form)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1(blur(self.conv0(x)))


class Discriminator(progan.Discriminator):
    """Progressive GAN's in its final form, with bilinear downsampling (config B)."""

    Block = DiscriminatorBlock
