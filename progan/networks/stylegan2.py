"""Generator and discriminator of Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN".

Configuration F, which does not grow. Sections, equations and figures are those of this paper.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from progan.networks import base, progan
from progan.networks.layers import Conv, Dense, Layer, at_least_float32, channels_last, per_map
from progan.networks.styles import LINEAR, PLAIN, Noise, StyleGenerator
from progan.operations import blur, conv2d, leaky_relu, smooth, upsample
from progan.resolutions import phase_key, resolutions_between

if TYPE_CHECKING:
    from progan.network_config import Stylegan2Config
    from progan.randomness import Randomness

BARE = LINEAR._replace(bias=False)


class ModulatedConv(Layer):
    """A convolution with weights scaled by a style (§2.2).

    x [N, inputs, H, W], w [N, style_size] → [N, outputs, H, W].
    w'_ijk = s_i w_ijk (equation 1); demodulation, w''_ijk = w'_ijk / √(Σ_ik w'_ijk² + ε) (equation 3). These
    factors are of whole maps, so they scale the input and the output of one convolution for all styles.
    """

    def __init__(
        self, network: "Stylegan2Config", inputs: int, outputs: int, kernel: int, demodulates: bool
    ) -> None:
        super().__init__((outputs, inputs, kernel, kernel), outputs, BARE, gain=1)
        self.style = Dense(network.style_size, inputs, LINEAR, gain=1)  # of s - 1
        self.demodulates = demodulates

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = at_least_float32(self.style(w)) + 1
        weight, _ = self.scaled(x)
        x = self.convolve(x * per_map(style).to(x.dtype), weight)
        if not self.demodulates:
            return x
        squares = at_least_float32(weight).square().sum(dim=(2, 3))  # [outputs, inputs]
        return x * per_map(torch.rsqrt(style.square() @ squares.t() + 1e-8)).to(x.dtype)

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        return conv2d(x, weight, None, padding=weight.shape[-1] // 2)


class UpModulatedConv(ModulatedConv):
    """The same with zeros put between the pixels, then smoothed: [N, inputs, H, W] → [N, outputs, 2H, 2W]."""

    WORK = 1 / 4

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        return 4 * smooth(F.conv_transpose2d(x, weight.flip(2, 3).transpose(0, 1), stride=2), 3, 1)


class StyledConv(nn.Module):
    """A modulated convolution, noise, bias and leaky ReLU (figure 2d): → [N, outputs, side, side]."""

    def __init__(self, network: "Stylegan2Config", inputs: int, outputs: int, side: int, up: bool) -> None:
        super().__init__()
        self.conv = (UpModulatedConv if up else ModulatedConv)(network, inputs, outputs, 3, demodulates=True)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise = Noise(1, side) if network.noise else None

    def forward(self, x: Tensor, w: Tensor, randomness: "Randomness | None") -> Tensor:
        x = self.conv(x, w)
        if self.noise:
            x = self.noise(x, randomness)
        return leaky_relu(x + per_map(self.bias).to(x.dtype)) * math.sqrt(2)


class ToRGB(nn.Module):
    """What a block adds to the image: [N, inputs, H, W] → [N, channels, H, W], float32 at least."""

    def __init__(self, network: "Stylegan2Config", inputs: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(network, inputs, network.channels, 1, demodulates=False)
        self.bias = nn.Parameter(torch.zeros(network.channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return at_least_float32(self.conv(x, w)) + per_map(self.bias)


class GeneratorBlock(nn.Module):
    """Two styled convolutions, the first of which doubles the size; at 4×4, one, of a learnt constant."""

    def __init__(self, network: "Stylegan2Config", inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        if side == 4:
            self.constant = nn.Parameter(torch.randn(1, outputs, 4, 4))
        else:
            self.conv0 = StyledConv(network, inputs, outputs, side, up=True)
        self.conv1 = StyledConv(network, outputs, outputs, side, up=False)

    def forward(self, x: Tensor | None, styles: list[Tensor], randomness: "Randomness | None") -> Tensor:
        if x is None:
            x = channels_last(self.constant.to(styles[0].dtype).expand(styles[0].shape[0], -1, -1, -1))
        else:
            x = self.conv0(x, styles.pop(0), randomness)
        return self.conv1(x, styles.pop(0), randomness)


class Generator(StyleGenerator):
    """With skip connections: each level doubles the image and adds to it (figure 7b)."""

    Block = GeneratorBlock

    network: "Stylegan2Config"

    def __init__(self, network: "Stylegan2Config", resolution: int) -> None:
        super().__init__(network, resolution)
        maps, levels = network.feature_maps(), resolutions_between(4, resolution)
        self.to_rgb = nn.ModuleDict({phase_key(level): ToRGB(network, maps.at(level)) for level in levels})

    def grow(self, x: Tensor, alpha: Tensor | None = None) -> Tensor:
        styles = self.per_layer(x)
        maps, images = None, x.new_zeros((), dtype=torch.float32)
        for key, block in self.blocks.items():
            if maps is not None:
                images = blur(upsample(images))
            maps = block(maps, styles, self.randomness)
            images = images + self.to_rgb[key](maps, styles[0])  # with the style of the layer that follows
        return images


class DownConv(Conv):
    """Smooth, then convolve every other pixel: [N, inputs, H, W] → [N, outputs, H/2, W/2]."""

    WORK = 1 / 4

    def forward(self, x: Tensor) -> Tensor:
        x = smooth(x, 3, 1 + self.weight.shape[-1] // 2)
        return self.finish(conv2d(x, *self.scaled(x), stride=2))


class DiscriminatorBlock(nn.Module):
    """A residual block (figure 7c): [N, inputs, H, W] → [N, outputs, H/2, W/2]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = Conv(inputs, inputs, 3, PLAIN)
        self.conv1 = DownConv(inputs, outputs, 3, PLAIN)
        self.skip = DownConv(inputs, outputs, 1, BARE, gain=1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv1(self.conv0(x)) + self.skip(x)) / math.sqrt(2)


class Discriminator(base.Discriminator):
    """Residual blocks, and the last block of Progressive GAN."""

    def __init__(self, network: "Stylegan2Config", resolution: int) -> None:
        super().__init__(network, resolution)
        maps = network.feature_maps()
        *halved, end = resolutions_between(4, resolution)[::-1]
        self.from_rgb = nn.ModuleDict(
            {phase_key(resolution): Conv(network.channels, maps.at(resolution), 1, PLAIN)}
        )
        blocks: dict[str, nn.Module] = {
            phase_key(level): DiscriminatorBlock(maps.at(level), maps.at(level // 2)) for level in halved
        }
        blocks[phase_key(end)] = progan.DiscriminatorEnd(network, maps.at(end), maps.after(0), PLAIN)
        self.blocks = nn.ModuleDict(blocks)

    def features(self, images: Tensor, alpha: Tensor | None = None) -> Tensor:
        x = self.from_rgb[phase_key(self.resolution)](channels_last(images))
        for key, block in self.blocks.items():
            if key != phase_key(4):
                x = block(x)
        return x

    def end(self, x: Tensor) -> Tensor:
        return at_least_float32(self.blocks[phase_key(4)](x))
