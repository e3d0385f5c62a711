"""The cost of training at each resolution, counted from the networks' arithmetic."""

from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from progan.config import NetworkConfig
from progan.networks import build_networks

# The cost of one iteration, in forward passes of each network. Half of the discriminator's is the double
# backward pass of the gradient penalty.
DISCRIMINATOR_PASSES, GENERATOR_PASSES = 14, 4


@cache
def iteration_flops(network: NetworkConfig, resolution: int) -> int:
    """Approximate floating-point operations of one training iteration, per image."""
    with torch.device("meta"):
        generator, discriminator = build_networks(network, resolution)
        latents = torch.empty(1, network.latent_size + network.label_size)
        image = torch.empty(1, network.channels, resolution, resolution)
        with FlopCounterMode(display=False) as generator_counter, torch.no_grad():
            generator(latents)
        with FlopCounterMode(display=False) as discriminator_counter, torch.no_grad():
            discriminator(image)
    return (
        GENERATOR_PASSES * generator_counter.get_total_flops()
        + DISCRIMINATOR_PASSES * discriminator_counter.get_total_flops()
    )
