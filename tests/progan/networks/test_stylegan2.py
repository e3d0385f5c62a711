"""StyleGAN2 against its published parameter counts and float64 numpy, written from the paper's equations."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from progan.networks.stylegan2 import Discriminator, Generator, ModulatedConv
from progan.operations import smooth
from tests import architectures
from tests.progan.networks.numpy_progan import (
    assert_equal,
    conv,
    leaky,
    normal,
    parameter_count,
    randomised,
)
from tests.progan.networks.numpy_stylegan import NumpyStylegan

SMALL = dataclasses.replace(architectures.SMALL["stylegan2"], style_mixing=0.0)


def test_parameter_counts_of_the_authors_code():
    with torch.device("meta"):
        assert parameter_count(Generator(architectures.STYLEGAN2, 1024)) == 30_370_060
        assert parameter_count(Discriminator(architectures.STYLEGAN2, 1024)) == 29_012_513


def with_zeros_between(x):
    out = np.zeros((*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]))
    out[:, :, ::2, ::2] = x
    return out


def filtered(x, before, after):
    """Each map with [1, 3, 3, 1] ⊗ [1, 3, 3, 1] / 64 behind so many rows and columns of zeros."""
    padded = np.pad(x, ((0, 0), (0, 0), (before, after), (before, after)))
    height, width = padded.shape[2] - 3, padded.shape[3] - 3
    taps = np.array([1, 3, 3, 1]) / 8
    return sum(
        taps[i] * taps[j] * padded[:, :, i : i + height, j : j + width] for i in range(4) for j in range(4)
    )


class NumpyStylegan2(NumpyStylegan):
    def modulated(self, name, x, w, demodulates=True):
        """Equations 1 and 3 as they stand: weights of its own for each image."""
        weight = self.state[f"{name}.weight"] / math.sqrt(self.state[f"{name}.weight"][0].size)
        styles = self.dense(f"{name}.style", w, 1) + 1
        out = []
        for image, style in zip(x, styles, strict=True):
            own = weight * style[None, :, None, None]
            if demodulates:
                own = own / np.sqrt((own**2).sum((1, 2, 3), keepdims=True) + 1e-8)
            out.append(conv(image[None], own)[0])
        return np.stack(out)

    def layer(self, name, x, w, up):
        if up:  # a convolution of the smoothed image is the smoothed convolution, except near the border
            x = self.modulated(
                f"{name}.conv", np.pad(with_zeros_between(x), ((0, 0), (0, 0), (2, 2), (2, 2))), w
            )
            x = 4 * filtered(x[:, :, 1:-2, 1:-2], 1, 1)
        else:
            x = self.modulated(f"{name}.conv", x, w)
        if self.config.noise:
            x = x + self.state[f"{name}.noise.strength"] * self.state[f"{name}.noise.fixed"]
        return math.sqrt(2) * leaky(x + self.state[f"{name}.bias"].reshape(-1, 1, 1))

    def images(self, latents):
        w = self.styles(latents)
        x = np.repeat(self.state["blocks.r0004.constant"], len(w), 0)
        images = 0
        for level in self.levels():
            name = f"blocks.{level}"
            if level != "r0004":
                x = self.layer(f"{name}.conv0", x, w, up=True)
                images = 4 * filtered(with_zeros_between(images), 2, 1)
            x = self.layer(f"{name}.conv1", x, w, up=False)
            added = self.modulated(f"to_rgb.{level}.conv", x, w, demodulates=False)
            images = images + added + self.state[f"to_rgb.{level}.bias"].reshape(-1, 1, 1)
        return images

    def scores(self, images):
        levels = self.levels()
        name = f"from_rgb.{levels[-1]}"
        x = self.finished(name, conv(images, self.weight(name)))
        for level in levels[:0:-1]:
            name = f"blocks.{level}"
            hidden = self.finished(f"{name}.conv0", conv(x, self.weight(f"{name}.conv0")))
            hidden = self.halved(f"{name}.conv1", hidden, math.sqrt(2), 2)
            hidden = self.finished(f"{name}.conv1", hidden)
            x = (hidden + self.halved(f"{name}.skip", x, 1, 1)) / math.sqrt(2)
        return self.last_block("blocks.r0004", x)

    def halved(self, name, x, gain, padding):
        """Smoothed, convolved at all places where the kernel fits, and every other of them taken."""
        weight = self.weight(name, gain)
        inner = weight.shape[-1] // 2
        sums = conv(filtered(x, padding, padding), weight)
        return sums[:, :, inner : sums.shape[2] - inner : 2, inner : sums.shape[3] - inner : 2]


@pytest.mark.parametrize(
    "changes", [{}, {"label_size": 3, "noise": False}], ids=["final", "labels, no noise"]
)
def test_whole_networks_against_numpy(changes):
    network = dataclasses.replace(SMALL, **changes)
    latents = normal(0, 4, 8 + network.label_size)
    generator = randomised(Generator(network, 16))
    images = generator(latents)
    assert images.shape == (4, 3, 16, 16)
    assert_equal(images, NumpyStylegan2(generator, network).images(latents.numpy()))

    discriminator = randomised(Discriminator(network, 16))
    images = normal(0, *images.shape)
    scores = discriminator(images)
    assert scores.shape == (4, 1 + network.label_size)
    assert_equal(scores, NumpyStylegan2(discriminator, network).scores(images.numpy()))


def test_demodulation_gives_unit_variance():
    """§2.2: for inputs of unit variance, whatever the style."""
    torch.manual_seed(0)
    layer = ModulatedConv(
        dataclasses.replace(architectures.STYLEGAN2, style_size=16), 32, 64, 3, demodulates=True
    )
    styles = 5 * torch.randn(4, 16)
    out = layer(torch.randn(4, 32, 32, 32), styles)[:, :, 1:-1, 1:-1]
    np.testing.assert_allclose(out.std(dim=(2, 3)).detach(), np.ones((4, 64)), atol=0.25)
    assert out.std().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("order", "padding"), [(3, 2), (3, 1), (2, 1)])
def test_smoothing_and_its_derivatives(order, padding):
    x = normal(0, 2, 2, 6, 6).requires_grad_()
    if order == 3:
        assert_equal(smooth(x, 3, padding), filtered(x.detach().numpy(), padding, padding))
    assert torch.autograd.gradcheck(lambda x: smooth(x, order, padding), x)
    assert torch.autograd.gradgradcheck(lambda x: smooth(x, order, padding), x)


def test_path_lengths_against_finite_differences():
    """‖J_wᵀ y‖, which regularisation takes from one backward pass, against the images of w moved a little."""
    generator = randomised(Generator(SMALL, 8))
    styles = generator.styles(normal(0, 1, 8)).detach().requires_grad_()
    y = normal(1, 1, 3, 8, 8)
    (gradient,) = torch.autograd.grad((generator.grow(styles) * y).sum(), styles)
    step = 1e-6
    for layer, element in [(0, 0), (1, 3), (3, 6)]:
        moved = torch.zeros_like(styles)
        moved[0, layer, element] = step
        with torch.no_grad():
            difference = generator.grow(styles + moved) - generator.grow(styles - moved)
        assert (difference * y).sum().item() / (2 * step) == pytest.approx(
            gradient[0, layer, element].item(), rel=1e-5
        )
