"""StyleGAN against its published parameter counts, float64 numpy, and what its paper says of styles."""

import dataclasses

import numpy as np
import pytest
import torch

from progan.networks.stylegan import Discriminator, Generator, instance_norm
from progan.operations import blur
from progan.randomness import Randomness
from tests import architectures
from tests.progan.networks.numpy_progan import assert_equal, normal, parameter_count, randomised
from tests.progan.networks.numpy_stylegan import NumpyStylegan, adain, blurred

SMALL = architectures.SMALL["stylegan"]
FORMS = {  # what differs from SMALL
    "F": {},
    "D": {"noise": False, "style_mixing": 0.0},
    "C": {"noise": False, "style_mixing": 0.0, "constant_input": False},
    "labels": {"label_size": 3},
    "grey": {"channels": 1, "mbstd_group_size": 0},
}
LAYERS = 6  # at 16 px


def noise_of(generator):
    """The fixed noise of each layer, in order."""
    return [buffer.numpy() for name, buffer in generator.named_buffers() if name.endswith(".noise.fixed")]


def test_parameter_counts_of_the_authors_code():
    with torch.device("meta"):
        assert parameter_count(Generator(architectures.STYLEGAN, 1024)) == 26_219_627
        assert parameter_count(Generator(architectures.STYLEGAN, 1024).mapping) == 2_101_248
        assert parameter_count(Discriminator(architectures.STYLEGAN, 1024)) == 23_087_249


@pytest.mark.parametrize("alpha", [0.3, None])
@pytest.mark.parametrize("form", FORMS)
def test_whole_networks_against_numpy(alpha, form):
    network = dataclasses.replace(SMALL, **FORMS[form])
    faded = None if alpha is None else torch.tensor(alpha, dtype=torch.float64)
    latents = normal(0, 4, 8 + network.label_size)
    generator = randomised(Generator(network, 16))
    reference = NumpyStylegan(generator, network)
    w = reference.styles(latents.numpy())
    assert_equal(generator.start(latents), w)
    images = generator(latents, faded)
    assert images.shape == (4, network.channels, 16, 16)
    assert_equal(images, reference.synthesised([w] * LAYERS, noise_of(generator), alpha))

    discriminator = randomised(Discriminator(network, 16))
    scores = discriminator(normal(0, *images.shape), faded)
    assert scores.shape == (4, 1 + network.label_size)
    assert_equal(
        scores, NumpyStylegan(discriminator, network).scores(normal(0, *images.shape).numpy(), alpha)
    )


def test_blur_and_its_derivatives():
    x = normal(0, 2, 3, 4, 4).requires_grad_()
    assert_equal(blur(x), blurred(x.detach().numpy()))
    assert torch.autograd.gradcheck(blur, x)
    assert torch.autograd.gradgradcheck(blur, x)


def test_adain_replaces_mean_and_deviation():
    x, scale, shift = normal(0, 2, 3, 5, 5) * 7 + 3, normal(1, 2, 3), normal(2, 2, 3)
    out = instance_norm(x) * scale[..., None, None] + shift[..., None, None]
    assert_equal(out, adain(x.numpy(), scale.numpy(), shift.numpy()))
    np.testing.assert_allclose(out.mean(dim=(2, 3)), shift, atol=1e-9)
    np.testing.assert_allclose(out.std(dim=(2, 3), correction=0), scale.abs(), rtol=1e-6)


def test_the_mapping_network_learns_a_hundredth_as_fast():
    """An equal step of all parameters moves what its layers compute with a hundredth as far."""
    generator = Generator(SMALL, 8)
    slow, fast = generator.mapping.dense1, generator.to_rgb["r0008"]
    moved = {}
    for layer in (slow, fast):
        before = [value.detach().clone() for value in layer.scaled(torch.zeros(1))]
        with torch.no_grad():
            layer.weight += 1
            layer.bias += 1
        after = layer.scaled(torch.zeros(1))
        moved[layer] = [(a - b).mean().item() for a, b in zip(after, before, strict=True)]
    fan_in = layer.weight[0].numel()
    np.testing.assert_allclose(moved[slow], [0.01 * 2**0.5 / 7**0.5, 0.01], rtol=1e-4)
    np.testing.assert_allclose(moved[fast], [1 / fan_in**0.5, 1], rtol=1e-4)
    weight, _ = Generator(architectures.STYLEGAN, 4).mapping.dense3.scaled(torch.zeros(1))
    assert weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)  # at first as in other layers


def training(generator, seed=0):
    """`generator` as training uses it."""
    generator.randomness = Randomness(torch.device("cpu"))
    generator.randomness.seed(seed)
    return generator


def test_noise_is_drawn_anew_in_training_and_fixed_in_sampling():
    generator = randomised(Generator(dataclasses.replace(SMALL, style_mixing=0.0), 16))
    latents = normal(0, 2, 8)
    fixed = generator(latents)
    assert torch.equal(generator(latents), fixed)
    drawn = training(generator)(latents)
    reference = NumpyStylegan(generator, SMALL)
    draws = Randomness(torch.device("cpu"))
    draws.seed(0)
    noise = [draws.normal(2, 1, side, side).double().numpy() for side in (4, 4, 8, 8, 16, 16)]
    styles = [reference.styles(latents.numpy())] * LAYERS
    assert_equal(drawn, reference.synthesised(styles, noise))
    assert not torch.allclose(generator(latents), drawn)


def test_mixing_gives_the_share_of_images_two_styles():
    """Each image has its own style before a layer from 1 to 5, and from there on that of other latents."""
    network = dataclasses.replace(SMALL, style_mixing=0.75)
    generator = training(randomised(Generator(network, 16)), seed=1)
    latents = normal(0, 2000, 8)
    w = generator.start(latents)
    styles = generator.mixed(w, latents, generator.randomness)
    assert styles.shape == (2000, LAYERS, 7)
    own = (styles == w[:, None]).all(dim=2)
    assert torch.equal(own, own.cummin(dim=1).values)  # never back to its own style
    crossovers = own.sum(dim=1)
    assert crossovers.min() == 1
    shares = torch.bincount(crossovers, minlength=7)[1:] / 2000
    np.testing.assert_allclose(shares, [0.15] * 5 + [0.25], atol=0.03)
    others = styles[:, -1][~own[:, -1]]
    assert len(others.unique(dim=0)) == len(others)  # nobody shares the other latents


def test_mixed_images_are_those_of_both_styles():
    network = dataclasses.replace(SMALL, noise=False, style_mixing=1.0)
    generator = training(randomised(Generator(network, 16)), seed=2)
    latents = normal(0, 3, 8)
    images = generator(latents)
    generator.randomness.seed(2)
    styles = generator.mixed(generator.start(latents), latents, generator.randomness).detach().numpy()
    expected = NumpyStylegan(generator, network).synthesised(list(styles.swapaxes(0, 1)), None)
    assert_equal(images, expected)


@pytest.mark.parametrize("truncation", [0.0, 0.7, 1.0])
def test_truncation_moves_the_first_layers_alone(truncation):
    """Appendix B: w̄ + ψ (w - w̄) in the layers before the cutoff, here three of six."""
    generator = randomised(Generator(SMALL, 16))
    w, center = generator.start(normal(0, 2, 8)), generator.start(normal(1, 500, 8)).mean(0)
    images = generator.grow(generator.truncate(w, center, truncation))
    w, center = w.detach().numpy(), center.detach().numpy()
    truncated = center + truncation * (w - center)
    styles = [truncated] * 3 + [w] * 3
    reference = NumpyStylegan(generator, SMALL)
    assert_equal(images, reference.synthesised(styles, noise_of(generator)))


def test_in_bfloat16_images_stay_close_and_float32():
    torch.manual_seed(0)
    generator = Generator(SMALL, 16)
    latents = torch.randn(4, 8)
    images, rounded = generator(latents), generator(latents.bfloat16())
    assert rounded.dtype == torch.float32
    assert (images - rounded).abs().mean() < 0.02 * images.abs().mean() + 0.01


def test_a_grown_phase_has_the_layers_of_the_one_before():
    small, large = Generator(SMALL, 8).state_dict(), Generator(SMALL, 16).state_dict()
    assert {name: value.shape for name, value in small.items()} == {name: large[name].shape for name in small}
