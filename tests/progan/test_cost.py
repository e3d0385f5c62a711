"""The arithmetic of an iteration: by hand, and as PyTorch counts it while the networks run."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from progan.cost import forward_flops, iteration_flops
from progan.networks import build_networks
from tests import architectures
from tests.progan.networks.numpy_progan import PAPER as progan


@pytest.mark.parametrize("labels", [0, 5])
def test_flops_against_the_layers_by_hand(small_config, labels):
    """Multiply and add in every layer: 4 passes of the generator, 14 of the discriminator."""
    network = replace(small_config.network, label_size=labels)  # 8 maps at 4 and 8 px
    dense, conv4, conv8 = (8 + labels) * 128, 8 * 8 * 9 * 16, 8 * 8 * 9 * 64
    generator = dense + conv4 + 2 * conv8 + 8 * 3 * 64
    discriminator = 3 * 8 * 64 + 2 * conv8 + 9 * 8 * 9 * 16 + 128 * 8 + 8 * (1 + labels)
    assert iteration_flops(network, small_config.training, 8) == 2 * (4 * generator + 14 * discriminator)


SMALL = {"latent_size": 8, "fmap_base": 128, "fmap_max": 16}


@pytest.mark.parametrize(
    "network",
    [
        replace(progan, **SMALL),
        replace(progan, **SMALL, fused_scaling=True),
        replace(progan, **SMALL, minibatch_discrimination=4, mbstd_group_size=0),
        replace(progan, **SMALL, convs_per_block=1, generator_norm="batch", discriminator_norm="layer"),
        *architectures.SMALL.values(),
    ],
    ids=str,
)
def test_flops_against_pytorchs_counter(network):
    """To 4%: the levels below of StyleGAN2's image and what BigGAN attends to are not counted as they are."""
    generator, discriminator = build_networks(network, 16)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        images = generator(torch.zeros(1, network.latent_size + network.label_size))
        of_generator = counter.get_total_flops()
        discriminator(images)
    of_discriminator = counter.get_total_flops() - of_generator
    assert forward_flops(network, 16) == pytest.approx((of_generator, of_discriminator), rel=0.04)


@pytest.mark.parametrize(
    ("loss", "parameters", "passes"),
    [
        ("hinge", {}, (4, 7)),
        ("non-saturating", {"r1": 1.0}, (4, 14)),
        (
            "non-saturating",
            {"r1": 1.0, "r1_interval": 7, "path_length": 2.0, "path_length_interval": 7},
            (5, 8),
        ),
    ],
)
def test_the_terms_of_a_loss_count(small_config, loss, parameters, passes):
    training = replace(small_config.training, loss=loss, loss_parameters=parameters)
    counts = forward_flops(small_config.network, 8)
    expected = sum(count * each for count, each in zip(counts, passes, strict=True))
    assert iteration_flops(small_config.network, training, 8) == expected
