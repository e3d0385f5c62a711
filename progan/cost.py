"""The cost of training at each resolution, counted from the networks' arithmetic."""

from functools import cache

from torch import nn

from progan.config import TrainingConfig
from progan.network_config import NetworkConfig
from progan.resolutions import resolution_of
from progan.shapes import shapes_of_networks

# The cost of an iteration, in forward passes of each network. That of a term with gradients of gradients is
# its own forward pass, the one back to the images or styles, and those back through both.
DISCRIMINATOR_PASSES, GENERATOR_PASSES = 7, 4
PENALTY_PASSES, PATH_LENGTH_PASSES = 7, 7


def iteration_flops(network: NetworkConfig, training: TrainingConfig, resolution: int) -> int:
    """Approximate floating-point operations of one training iteration, per image."""
    of_generator, of_discriminator = forward_flops(network, resolution)
    loss = training.adversarial
    discriminator_passes, generator_passes = float(DISCRIMINATOR_PASSES), float(GENERATOR_PASSES)
    if loss.gradients_at:
        discriminator_passes += PENALTY_PASSES
    if loss.lazy_penalty:
        discriminator_passes += PENALTY_PASSES / loss.lazy_penalty.interval
    if loss.path_length:
        generator_passes += PATH_LENGTH_PASSES / loss.path_length.interval
    return round(generator_passes * of_generator + discriminator_passes * of_discriminator)


@cache
def forward_flops(network: NetworkConfig, resolution: int) -> tuple[int, int]:
    """Approximate floating-point operations of generator and discriminator, for an image."""
    generator, discriminator = shapes_of_networks(network, resolution)
    return _flops(generator, resolution), _flops(discriminator, resolution)


def _flops(module: nn.Module, resolution: int) -> int:
    """Those of all layers, except the RGB layers of levels below, which matter only while layers fade in."""
    total = 0
    for name, layer in module.named_modules():
        part, *rest = name.split(".")
        side = resolution_of(rest[0]) if part in ("blocks", "to_rgb", "from_rgb") and rest else 1
        if part not in ("to_rgb", "from_rgb") or side == resolution:
            total += _layer_flops(layer, side)
    return total


def _layer_flops(layer: nn.Module, side: int) -> int:
    """A multiplication and an addition for each weight, in a convolution at each of side² pixels."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, nn.Parameter) or weight.dim() == 1:
        return 0
    return round(2 * weight.numel() * (side**2 * getattr(layer, "WORK", 1) if weight.dim() == 4 else 1))
