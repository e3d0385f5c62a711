"""The cost of training at each resolution, counted from the networks' arithmetic."""

from functools import cache

from torch import nn

from progan.network_config import NetworkConfig
from progan.networks.layers import FusedDownConv, FusedUpConv
from progan.resolutions import resolution_of
from progan.shapes import shapes_of_networks

# The cost of one iteration, in forward passes of each network. Half of the discriminator's is the double
# backward pass of the gradient penalty.
DISCRIMINATOR_PASSES, GENERATOR_PASSES = 14, 4


@cache
def iteration_flops(network: NetworkConfig, resolution: int) -> int:
    """Approximate floating-point operations of one training iteration, per image."""
    generator, discriminator = shapes_of_networks(network, resolution)
    return GENERATOR_PASSES * _forward_flops(generator, resolution) + DISCRIMINATOR_PASSES * _forward_flops(
        discriminator, resolution
    )


def _forward_flops(module: nn.Module, resolution: int) -> int:
    """Those of all layers, except the RGB layers of levels below, which matter only while layers fade in."""
    total = 0
    for name, layer in module.named_modules():
        part, *rest = name.split(".")
        side = resolution_of(rest[0]) if rest and rest[0].startswith("r") else 1
        if part not in ("to_rgb", "from_rgb") or side == resolution:
            total += _layer_flops(layer, side)
    return total


def _layer_flops(layer: nn.Module, side: int) -> int:
    """A multiplication and an addition for each weight, in a convolution at each of side² pixels."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, nn.Parameter) or weight.dim() == 1:
        return 0
    if isinstance(layer, FusedUpConv | FusedDownConv):  # 4 × 4 weights, at a quarter of the pixels
        return 2 * weight[:, :, 0, 0].numel() * 16 * side**2 // 4
    return 2 * weight.numel() * (side**2 if weight.dim() == 4 else 1)
