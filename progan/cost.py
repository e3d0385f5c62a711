"""What training costs at each resolution, from the networks' own arithmetic."""

from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from progan.config import Config, NetworkConfig
from progan.models import build_networks
from progan.phases import Schedule

# One iteration in forward passes: the gradient penalty's double backward is half of the critic's step.
DISCRIMINATOR_PASSES, GENERATOR_PASSES = 14, 4


@cache
def iteration_flops(network: NetworkConfig, resolution: int) -> int:
    """Floating-point operations of one training iteration per image, about."""
    with torch.device("meta"):
        generator, discriminator = build_networks(network, resolution)
        latents = torch.empty(1, network.latent_size + network.label_size)
        image = torch.empty(1, network.channels, resolution, resolution)
        with FlopCounterMode(display=False) as made, torch.no_grad():
            generator(latents)
        with FlopCounterMode(display=False) as judged, torch.no_grad():
            discriminator(image)
    return GENERATOR_PASSES * made.get_total_flops() + DISCRIMINATOR_PASSES * judged.get_total_flops()


def images_after(config: Config, key: str) -> float:
    """The phases after `key` in images of that phase, if time goes by the arithmetic alone."""
    now = config.phase(key)
    later = [phase for phase in config.phases.values() if phase.resolution > now.resolution]
    return sum(
        Schedule(phase).total_images
        * iteration_flops(config.network, phase.resolution)
        / iteration_flops(config.network, now.resolution)
        for phase in later
    )
