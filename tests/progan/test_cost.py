"""The arithmetic of an iteration: by hand, and as PyTorch counts it while the networks run."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from progan.cost import iteration_flops
from progan.networks import build_networks


@pytest.mark.parametrize("labels", [0, 5])
def test_flops_against_the_layers_by_hand(small_config, labels):
    """Multiply and add in every layer: 4 passes of the generator, 14 of the discriminator."""
    network = replace(small_config.network, label_size=labels)  # 8 maps at 4 and 8 px
    dense, conv4, conv8 = (8 + labels) * 128, 8 * 8 * 9 * 16, 8 * 8 * 9 * 64
    generator = dense + conv4 + 2 * conv8 + 8 * 3 * 64
    discriminator = 3 * 8 * 64 + 2 * conv8 + 9 * 8 * 9 * 16 + 128 * 8 + 8 * (1 + labels)
    assert iteration_flops(network, 8) == 2 * (4 * generator + 14 * discriminator)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fused_scaling": True},
        {"minibatch_discrimination": 4, "mbstd_group_size": 0},
        {"convs_per_block": 1, "generator_norm": "batch", "discriminator_norm": "layer"},
    ],
    ids=str,
)
def test_flops_against_pytorchs_counter(small_config, changes):
    network = replace(small_config.network, fmap_base=128, fmap_max=16, **changes)
    generator, discriminator = build_networks(network, 16)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        images = generator(torch.zeros(1, network.latent_size))
        of_generator = counter.get_total_flops()
        discriminator(images)
    of_discriminator = counter.get_total_flops() - of_generator
    assert iteration_flops(network, 16) == 4 * of_generator + 14 * of_discriminator
