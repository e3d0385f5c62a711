"""The estimate of a GPU's memory against what the allocator of real tensors counts, and its growth."""

from dataclasses import replace

import pytest
import torch

from progan.memory import CONTEXT_BYTES, OVERHEAD, STATES, training_bytes
from progan.networks import build_networks
from tests import architectures


def counted(config, key, gpus=1):
    """The estimate without the factor and the constant that are added to the count."""
    return (training_bytes(config, key, gpus) - CONTEXT_BYTES) / OVERHEAD


def test_against_real_tensors(small_config):
    """The same graph on the CPU: distinct memory addresses of the tensors that autograd saves."""
    phase, network = small_config.phases["r0016"], small_config.network
    generator, discriminator = build_networks(network, 16)
    storages = {}

    def keep(tensor):
        storages[tensor.untyped_storage().data_ptr()] = (tensor, tensor.untyped_storage().nbytes())
        return tensor

    images, alpha = torch.rand(phase.minibatch, 3, 16, 16), torch.tensor(0.5)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        mixed = images.clone().requires_grad_()
        (gradients,) = torch.autograd.grad(discriminator(mixed, alpha)[:, 0].sum(), mixed, create_graph=True)
        both = discriminator.features(torch.cat([images, images]), alpha).chunk(2)
        graphs = [gradients.square().sum(), *map(discriminator.end, both)]
    sizes = [sum(p.numel() * 4 for p in net.parameters()) for net in (generator, discriminator)]
    expected = STATES * sum(sizes) + sizes[0] + sum(size for _, size in storages.values())
    assert graphs
    assert counted(small_config, "r0016") == pytest.approx(expected, rel=0.01)


def test_it_grows_with_the_minibatch_and_shrinks_with_gpus(small_config):
    phase = small_config.phases["r0016"]
    twice = replace(
        small_config, phases=small_config.phases | {"r0016": replace(phase, minibatch=2 * phase.minibatch)}
    )
    once, doubled = counted(small_config, "r0016"), counted(twice, "r0016")
    assert 1.5 < doubled / once < 2
    assert counted(twice, "r0016", gpus=2) == pytest.approx(once)


def test_a_group_is_no_larger_than_a_gpus_share(small_config):
    """As in training: the paper's group of 16 is all three images of its last phase's minibatch."""
    larger = replace(small_config, network=replace(small_config.network, mbstd_group_size=16))
    assert counted(larger, "r0016") == pytest.approx(counted(small_config, "r0016"), rel=0.01)
    assert counted(larger, "r0016", gpus=8) < counted(larger, "r0016", gpus=4)


def test_bfloat16_needs_about_half(small_config):
    """Of what is not weights; float32 and TF32 need the same."""
    training = small_config.training
    wide = replace(small_config.phases["r0016"], minibatch=512)
    needed = {
        precision: counted(
            replace(
                small_config,
                phases=small_config.phases | {"r0016": wide},
                training=replace(training, precision=precision),
            ),
            "r0016",
        )
        for precision in ("float32", "tf32", "bfloat16")
    }
    assert needed["tf32"] == needed["float32"]
    assert 0.45 < needed["bfloat16"] / needed["float32"] < 0.6


def test_a_graph_counts_where_it_lives(small_config):
    """The penalty's beside the others, or alone if it is lazy; the generator's if it is the largest."""

    def needed(loss, network, **parameters):
        phase = replace(small_config.phases["r0016"], init="data/multires/r0016", fade_kimg=0, minibatch=64)
        training = replace(small_config.training, loss=loss, loss_parameters=parameters)
        config = replace(small_config, network=network, training=training, phases={"r0016": phase})
        return counted(config, "r0016")

    network = architectures.SMALL["stylegan2"]
    hinge, lazy, each = (
        needed("hinge", network),
        needed("non-saturating", network, r1=1.0, r1_interval=16),
        needed("non-saturating", network, r1=1.0),
    )
    assert hinge <= lazy < each
    wide = replace(network, mapping_layers=64, style_size=512)
    assert needed("non-saturating", wide, r1=0.0, path_length=2.0) > needed("non-saturating", wide, r1=0.0)


@pytest.mark.gpu
def test_against_the_memory_of_a_gpu(small_config):
    """A step of the paper's networks at 256 px stays below the estimate, and above a third of it."""
    from progan.models import Models
    from progan.step import Minibatch, critic_step, draw

    network = replace(small_config.network, latent_size=512, fmap_base=8192, fmap_max=512)
    phase = replace(small_config.phases["r0016"], resolution=256, minibatch=8)
    config = replace(small_config, network=network)
    object.__setattr__(config, "phases", {"r0256": phase})
    device = torch.device("cuda")
    torch.cuda.reset_peak_memory_stats()
    models = Models.build(config, phase, None, device)
    images = torch.zeros(8, 3, 256, 256, dtype=torch.uint8, device=device)
    alpha, rate = torch.tensor(0.5, device=device), torch.tensor(0.001, device=device)
    draws = draw(1, 0, 8, network, torch.zeros(8, dtype=torch.int64, device=device))
    minibatch = Minibatch(images, torch.zeros(8, 0, device=device), draws, alpha)
    critic_step(models, minibatch, rate, config.training)
    estimate = training_bytes(config, "r0256", 1)
    assert estimate / 3 < torch.cuda.max_memory_allocated() < estimate
