"""The paper's final networks against its parameter counts and against float64 numpy.

Networks and layers are compared in float64, where both sides agree within 1e-10.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch

from progan.networks import fade_reals, one_hot
from progan.networks.layers import Conv, DownConv, LayerForm, MinibatchStddev, UpConv, pixel_norm
from progan.networks.progan import Discriminator, Generator
from progan.operations import downsample, upsample
from tests.progan.networks import numpy_progan
from tests.progan.networks.numpy_progan import (
    FORMS,
    PAPER,
    SMALL,
    NumpyNetwork,
    assert_equal,
    doubled,
    halved,
    leaky,
    loop_conv,
    normal,
    parameter_count,
    randomised,
)

GENERATOR = LayerForm(equalized_lr=True, activation="leaky-relu", norm="pixel")
LINEAR = LayerForm(equalized_lr=True, activation="linear", norm="none")


@pytest.mark.parametrize(
    ("resolution", "changes", "generator", "discriminator"),
    [
        (1024, {}, 23_079_115, 23_087_249),
        (32, {}, 20_719_628, 20_726_785),
        (32, {"label_size": 10}, 20_801_548, 20_731_915),
        (32, {"fmap_base": 4096, "fmap_max": 128, "latent_size": 128}, 1_296_908, 1_298_689),
        (128, {"fmap_base": 2048}, 13_629_810, 13_636_897),
        (32, {"channels": 1}, 20_715_524, 20_722_689),
        (1024, {"fused_scaling": True}, 23_079_115, 23_087_249),
    ],
)
def test_parameter_counts_of_the_authors_code(resolution, changes, generator, discriminator):
    network = dataclasses.replace(PAPER, **changes)
    with torch.device("meta"):
        assert parameter_count(Generator(network, resolution)) == generator
        assert parameter_count(Discriminator(network, resolution)) == discriminator


def test_the_channel_rule_by_hand():
    """Stage s has ⌊64 / 2^(s/2)⌋ maps: 64, 45, 32, 22 (then 40 at most); 2^r pixels are stage r - 1."""
    network = dataclasses.replace(SMALL, fmap_base=64, fmap_decay=0.5, fmap_max=40)
    state = Discriminator(network, 16).state_dict()
    shapes = {
        name: tuple(state[f"blocks.{name}.weight"].shape[:2]) for name in ("r0016.conv1", "r0008.conv1")
    }
    assert shapes == {"r0016.conv1": (32, 22), "r0008.conv1": (40, 32)}
    wide = Discriminator(dataclasses.replace(network, fmap_max=512), 4).state_dict()
    assert wide["blocks.r0004.conv.weight"].shape[:2] == (45, 46)
    assert wide["blocks.r0004.dense0.weight"].shape == (64, 16 * 45)


def test_one_hot_by_hand():
    assert one_hot(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot(torch.tensor([0, 0]), 0).shape == (2, 0)


def test_weights_are_drawn_from_the_unit_normal():
    torch.manual_seed(0)
    weight = Conv(64, 64, 3, GENERATOR).weight.detach()
    assert weight.mean().abs() < 0.02
    assert weight.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("shape", [(4, 7), (2, 5, 4, 4)])
def test_pixel_norm_against_numpy(shape):
    x = normal(0, *shape) * 1e-3  # small, so that the epsilon shows
    assert_equal(pixel_norm(x), numpy_progan.pixel_norm(x.numpy()))


def test_minibatch_stddev_groups_are_strided():
    """Eight images in groups of four: 0, 2, 4, 6 form one group and 1, 3, 5, 7 the other."""
    x = torch.zeros(8, 2, 3, 3)
    x[[2, 6]] = 4.0  # in the even group: deviation 2 everywhere
    out = MinibatchStddev(4)(x)
    assert out.shape == (8, 3, 3, 3)
    assert torch.equal(out[:, :2], x)
    np.testing.assert_allclose(out[0::2, 2], 2, rtol=1e-6)
    np.testing.assert_allclose(out[1::2, 2], 1e-4, rtol=1e-4)


def test_minibatch_stddev_wants_whole_groups():
    assert MinibatchStddev(4)(torch.zeros(2, 1, 4, 4)).shape == (2, 2, 4, 4)
    with pytest.raises(ValueError, match="minibatch 6 is not a multiple"):
        MinibatchStddev(4)(torch.zeros(6, 1, 4, 4))


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("resample", [None, "up", "down"])
def test_convolutions_against_loops(kernel, resample):
    made = {None: Conv, "up": UpConv, "down": DownConv}[resample]
    layer = randomised(made(3, 2, kernel, GENERATOR._replace(norm="none")))
    x = normal(0, 2, 3, 4, 4)
    before = doubled(x.numpy()) if resample == "up" else x.numpy()
    weight = layer.weight.detach().numpy() * math.sqrt(2 / (3 * kernel * kernel))
    expected = np.stack([leaky(loop_conv(image, weight, layer.bias.detach().numpy())) for image in before])
    assert_equal(layer(x), halved(expected) if resample == "down" else expected)


@pytest.mark.parametrize("alpha", [0.3, None])
@pytest.mark.parametrize("form", FORMS)
def test_whole_networks_against_numpy(alpha, form):
    network = dataclasses.replace(SMALL, **FORMS[form])
    faded = None if alpha is None else torch.tensor(alpha, dtype=torch.float64)
    latents = normal(0, 4, 6 + network.label_size)
    generator = randomised(Generator(network, 16))
    images = generator(latents, faded)
    assert images.shape == (4, network.channels, 16, 16)
    assert_equal(images, NumpyNetwork(generator, network).images(latents.numpy(), alpha))

    discriminator = randomised(Discriminator(network, 16))
    images = normal(0, *images.shape)
    scores = discriminator(images, faded)
    assert scores.shape == (4, 1 + network.label_size)
    assert_equal(scores, NumpyNetwork(discriminator, network).scores(images.numpy(), alpha))


def test_whole_networks_in_single_precision():
    """What training runs, within float32's rounding."""
    alpha = 0.3
    generator, discriminator = randomised(Generator(SMALL, 16)), randomised(Discriminator(SMALL, 16))
    faded = torch.tensor(alpha)
    latents = normal(1, 4, 6)
    images = NumpyNetwork(generator, SMALL).images(latents.numpy(), alpha)
    made = generator.float()(latents.float(), faded).detach()
    np.testing.assert_allclose(made, images, rtol=1e-4, atol=1e-5)
    scores = NumpyNetwork(discriminator, SMALL).scores(images, alpha)
    judged = discriminator.float()(torch.from_numpy(images).float(), faded).detach()
    np.testing.assert_allclose(judged, scores, rtol=1e-4, atol=1e-5)


def test_a_fade_that_begins_changes_nothing():
    """At alpha 0 the grown networks are the ones before them, and the reals are those of half the size."""
    small, grown = Generator(SMALL, 8), Generator(SMALL, 16)
    grown.load_state_dict(grown.state_dict() | small.state_dict())
    latents, zero = torch.randn(4, 6), torch.tensor(0.0)
    torch.testing.assert_close(grown(latents, zero), upsample(small(latents)))

    small_critic, grown_critic = Discriminator(SMALL, 8), Discriminator(SMALL, 16)
    grown_critic.load_state_dict(grown_critic.state_dict() | small_critic.state_dict())
    images = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(grown_critic(images, zero), small_critic(downsample(images)))
    torch.testing.assert_close(fade_reals(images, zero), upsample(downsample(images)))


def test_faded_reals_against_numpy():
    images = normal(0, 2, 3, 8, 8)
    expected = 0.3 * images.numpy() + 0.7 * doubled(halved(images.numpy()))
    assert_equal(fade_reals(images, torch.tensor(0.3, dtype=torch.float64)), expected)


@pytest.mark.parametrize(
    "changes",
    [{}, {"generator_norm": "batch", "discriminator_norm": "layer", "fused_scaling": True}],
    ids=["final", "row a"],
)
def test_state_keys_never_change_as_networks_grow(changes):
    network = dataclasses.replace(SMALL, **changes)
    for made in (Generator, Discriminator):
        for resolution in (4, 8, 16):
            small, grown = made(network, resolution).state_dict(), made(network, 2 * resolution).state_dict()
            assert small.keys() < grown.keys()
            assert all(small[name].shape == grown[name].shape for name in small)


def test_the_state_keys_of_checkpoints():
    layers = {
        Generator: "blocks.r0004.dense blocks.r0004.conv blocks.r0008.conv0 blocks.r0008.conv1 "
        "to_rgb.r0004 to_rgb.r0008",
        Discriminator: "from_rgb.r0008 from_rgb.r0004 blocks.r0008.conv0 blocks.r0008.conv1 "
        "blocks.r0004.conv blocks.r0004.dense0 blocks.r0004.dense1",
    }
    for made, names in layers.items():
        expected = [f"{name}.{part}" for name in names.split() for part in ("weight", "bias")]
        assert list(made(SMALL, 8).state_dict()) == expected
        fused = dataclasses.replace(SMALL, fused_scaling=True)
        assert list(made(fused, 8).state_dict()) == expected
