"""The noise of least squares against a forward pass that applies it explicitly."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from progan.networks.layers import MinibatchStddev
from progan.networks.progan import Discriminator
from progan.noise import InstanceNoise
from progan.randomness import Randomness
from tests.progan.networks.numpy_progan import SMALL


@pytest.fixture
def discriminator():
    """8 maps at 8 px, 16 at 4 px, in float64."""
    torch.manual_seed(0)
    return Discriminator(dataclasses.replace(SMALL, label_size=2, fmap_max=16), 8).double()


@pytest.fixture
def noise(discriminator):
    """In float64, at full confidence."""
    noise = InstanceNoise(discriminator, Randomness(torch.device("cpu")))
    noise.score = torch.tensor(1.0, dtype=torch.float64)
    noise.randomness.seed(5)
    return noise


def by_hand(discriminator, images, strength, random):
    """The forward pass at 8 px; noise before each 3×3 convolution and the first dense layer."""

    def noisy(x):
        n, maps = x.shape[:2]
        draw = torch.randn(n, maps, 1, generator=random, dtype=torch.float64)[..., None]
        return x * (1 + strength * math.sqrt(maps) * draw)

    block, end = discriminator.blocks["r0008"], discriminator.blocks["r0004"]
    x = discriminator.from_rgb["r0008"](images)
    for conv in (block.conv0, block.conv1):
        x = F.leaky_relu(
            F.conv2d(noisy(x), conv.scaled(torch.empty(0, dtype=torch.float64))[0], conv.bias, padding=1), 0.2
        )
    x = MinibatchStddev(4)(F.avg_pool2d(x, 2))
    x = F.leaky_relu(
        F.conv2d(noisy(x), end.conv.scaled(torch.empty(0, dtype=torch.float64))[0], end.conv.bias, padding=1),
        0.2,
    )
    x = F.linear(
        noisy(x).flatten(1), end.dense0.scaled(torch.empty(0, dtype=torch.float64))[0], end.dense0.bias
    )
    return end.dense1(F.leaky_relu(x, 0.2))


def test_which_layers_have_noise(discriminator, noise):
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    outputs = discriminator(images)
    expected = by_hand(discriminator, images, 0.2 * 0.5**2, torch.Generator().manual_seed(5))
    torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)
    assert not torch.equal(discriminator(images), outputs)  # each forward pass draws new noise
    noise.score.fill_(0.5)
    silent = by_hand(discriminator, images, 0.0, torch.Generator())
    torch.testing.assert_close(discriminator(images), silent, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("score", "strength"), [(-1.0, 0.0), (0.0, 0.0), (0.5, 0.0), (0.6, 0.002), (0.75, 0.0125), (1.0, 0.05)]
)
def test_strength(noise, score, strength):
    noise.score.fill_(score)
    assert noise.strength().item() == pytest.approx(strength, abs=1e-15)


def test_the_score_is_an_average(noise):
    """The moving average of the scores, each clipped to 0 … 1, against numpy."""
    scores = np.random.default_rng(0).normal(0.8, 0.5, size=50)
    expected = 1.0
    for score in scores:
        noise.follow(torch.tensor(score))
        expected = 0.9 * expected + 0.1 * np.clip(score, 0, 1)
    assert (scores > 1).any()
    assert (scores < 0).any()
    assert noise.score.item() == pytest.approx(expected, rel=1e-12)


def test_a_new_phase_begins_without_noise(discriminator):
    noise = InstanceNoise(discriminator, Randomness(torch.device("cpu")))
    assert noise.score == noise.strength() == 0
