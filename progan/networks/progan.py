"""Generator and discriminator of Karras et al. 2018 (§2–§4, appendix A), readable top to bottom.

Parameters can turn them into those that the paper compares with its final ones (Table 1, MNIST-1K).
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from progan.networks import base
from progan.networks.layers import (
    Conv,
    Dense,
    DownConv,
    FirstDense,
    FusedDownConv,
    FusedUpConv,
    LayerForm,
    MinibatchDiscrimination,
    MinibatchStddev,
    UpConv,
    at_least_float32,
    channels_last,
    pixel_norm,
)
from progan.operations import downsample, upsample
from progan.resolutions import phase_key, resolutions_between

if TYPE_CHECKING:
    from progan.network_config import ProganConfig, Stylegan2Config, StyleganConfig

    AnyConfig = ProganConfig | StyleganConfig | Stylegan2Config


class GeneratorStart(nn.Sequential):
    """The 4×4 block: [N, latent_size + label_size] → [N, maps, 4, 4]."""

    def __init__(self, network: "ProganConfig", maps: int, form: LayerForm) -> None:
        super().__init__()
        self.dense = FirstDense(network.latent_size + network.label_size, maps, form)
        if network.convs_per_block > 1:
            self.conv = Conv(maps, maps, 3, form)


class GeneratorBlock(nn.Sequential):
    """Double the size: [N, inputs, H, W] → [N, outputs, 2H, 2W]."""

    def __init__(self, network: "ProganConfig", inputs: int, outputs: int, form: LayerForm) -> None:
        super().__init__()
        self.conv0 = (FusedUpConv if network.fused_scaling else UpConv)(inputs, outputs, 3, form)
        if network.convs_per_block > 1:
            self.conv1 = Conv(outputs, outputs, 3, form)


class DiscriminatorBlock(nn.Sequential):
    """Halve the size: [N, inputs, H, W] → [N, outputs, H/2, W/2]."""

    def __init__(self, network: "ProganConfig", inputs: int, outputs: int, form: LayerForm) -> None:
        super().__init__()
        if network.convs_per_block > 1:
            self.conv0 = Conv(inputs, inputs, 3, form)
        self.conv1 = (FusedDownConv if network.fused_scaling else DownConv)(inputs, outputs, 3, form)


class DiscriminatorEnd(nn.Sequential):
    """The 4×4 block: [N, maps, 4, 4] → [N, 1 + label_size]."""

    def __init__(self, network: "AnyConfig", maps: int, hidden: int, form: LayerForm) -> None:
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


class Generator(base.Generator):
    network: "ProganConfig"

    def __init__(self, network: "ProganConfig", resolution: int) -> None:
        super().__init__(network, resolution)
        form = LayerForm(network.equalized_lr, network.generator_activation, network.generator_norm)
        linear = form._replace(activation="linear", norm="none")
        maps = network.feature_maps()
        start, *grown = levels = resolutions_between(4, resolution)
        blocks: dict[str, nn.Module] = {phase_key(start): GeneratorStart(network, maps.at(start), form)}
        for level in grown:
            blocks[phase_key(level)] = GeneratorBlock(network, maps.at(level // 2), maps.at(level), form)
        self.blocks = nn.ModuleDict(blocks)
        self.to_rgb = nn.ModuleDict(
            {phase_key(level): Conv(maps.at(level), network.channels, 1, linear, gain=1) for level in levels}
        )

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


class Discriminator(base.Discriminator):
    Block: type[nn.Module] = DiscriminatorBlock

    def __init__(self, network: "ProganConfig", resolution: int) -> None:
        super().__init__(network, resolution)
        form = LayerForm(network.equalized_lr, "leaky-relu", network.discriminator_norm)
        plain = form._replace(norm="none")
        maps = network.feature_maps(network.discriminator_divisor)
        *grown, end = levels = resolutions_between(4, resolution)[::-1]
        self.from_rgb = nn.ModuleDict(
            {phase_key(level): Conv(network.channels, maps.at(level), 1, plain) for level in levels}
        )
        blocks: dict[str, nn.Module] = {}
        for level in grown:
            blocks[phase_key(level)] = self.Block(network, maps.at(level), maps.at(level // 2), form)
        blocks[phase_key(end)] = DiscriminatorEnd(network, maps.at(end), maps.after(0), form)
        self.blocks = nn.ModuleDict(blocks)

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
        """Initialise minibatch discrimination, if there is any."""
        last = next((layer for layer in self.modules() if isinstance(layer, MinibatchDiscrimination)), None)
        if last is None:
            return
        hook = last.register_forward_pre_hook(lambda layer, inputs: layer.calibrate(*inputs))
        with torch.no_grad():
            self(images)
        hook.remove()
