"""BigGAN's networks against the published parameter counts and against float64 numpy, within 1e-10."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch.func import functional_call

from progan.networks import build_networks
from progan.networks.biggan import Attention, BatchNorm, Conv, Dense, Generator, SpectralLayer
from progan.shapes import shapes_of_networks
from tests import architectures
from tests.progan.networks import numpy_biggan
from tests.progan.networks.numpy_biggan import NumpyBiggan
from tests.progan.networks.numpy_progan import assert_equal, normal, parameter_count
from tests.progan.networks.numpy_progan import randomised as with_values

PAPER = architectures.BIGGAN
SMALL = dataclasses.replace(
    PAPER,
    latent_size=6,
    fmap_base=64,
    fmap_max=16,
    label_size=3,
    class_embedding=4,
    attention_resolution=8,
)
FORMS = {  # what differs from SMALL
    "final": {},
    "all latents first": {"hierarchical_latents": False},
    "no labels": {"label_size": 0},
    "no condition": {"label_size": 0, "hierarchical_latents": False},
    "grey, no attention": {"channels": 1, "attention_resolution": 0},
}


def randomised(module):
    """`module` in float64 and eval mode, with values everywhere, so that the order of operations shows."""
    with_values(module)
    for name, value in module.state_dict().items():
        if name.endswith("variance"):
            value.abs_().add_(0.1)
    return module


def inputs(network, count, seed=0):
    """Latents and one-hot labels, float64 [count, latent_size + label_size]."""
    labels = torch.eye(network.label_size, dtype=torch.float64).repeat(count, 1)[:count]
    if not network.label_size:
        labels = torch.zeros(count, 0, dtype=torch.float64)
    return torch.cat([normal(seed, count, network.latent_size), labels], 1)


def spectral_layers(module):
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, SpectralLayer)}


def matrix_of(layer):
    return layer.weight.detach().flatten(1).numpy()


def equal_states(first, second):
    return all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


# ------------------------------------------------------------------------------------------------
# Whole networks


def test_published_parameter_counts():
    """Those that the authors' PyTorch code prints for ImageNet at 128 px."""
    generator, discriminator = shapes_of_networks(PAPER, 128)
    assert parameter_count(generator) == 70_433_988
    assert parameter_count(discriminator) == 87_982_370


@pytest.mark.parametrize("form", FORMS)
def test_whole_networks_against_numpy(form):
    network = dataclasses.replace(SMALL, **FORMS[form])
    generator, discriminator = map(randomised, build_networks(network, 16))
    latents = inputs(network, 3)
    images = generator(latents)
    assert images.shape == (3, network.channels, 16, 16)
    assert_equal(images, NumpyBiggan(generator, network).images(latents.numpy()))

    images = normal(0, *images.shape)
    scores = discriminator(images)
    assert scores.shape == (3, 1 + network.label_size)
    expected = NumpyBiggan(discriminator, network).scores(images.numpy())
    np.testing.assert_allclose(scores.detach(), expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


def test_gradients_of_whole_networks():
    """With converged vectors u and v, their own derivatives do not matter: σ's gradient is u vᵀ."""
    network = dataclasses.replace(SMALL, fmap_base=16, fmap_max=4)
    for module, x in zip(
        build_networks(network, 8), (inputs(network, 3), normal(1, 2, 3, 8, 8)), strict=True
    ):
        randomised(module).requires_grad_(True)
        for layer in spectral_layers(module).values():
            layer.converge()
        names, values = zip(*module.named_parameters(), strict=True)

        def output(x, *values, module=module, names=names):
            return functional_call(module, dict(zip(names, values, strict=True)), (x,))

        assert torch.autograd.gradcheck(output, (x.requires_grad_(), *values), fast_mode=True)


def test_training_goes_on_bit_for_bit_from_a_state():
    generator, discriminator = build_networks(SMALL, 16)
    latents = inputs(SMALL, 4).float()

    def train(generator, discriminator):
        with torch.no_grad():
            return [discriminator(generator(latents)) for _ in range(3)]

    train(generator, discriminator)
    generator.settle(latents)
    generator.train()
    others = build_networks(SMALL, 16)
    for other, module in zip(others, (generator, discriminator), strict=True):
        other.load_state_dict(module.state_dict())
    assert all(map(torch.equal, train(generator, discriminator), train(*others)))
    assert equal_states(others[0], generator)
    assert equal_states(others[1], discriminator)
    assert all(map(torch.equal, generator.eval()(latents), others[0].eval()(latents)))


def test_evaluation_changes_nothing_and_sees_each_image_alone():
    for module, x in zip(build_networks(SMALL, 16), (inputs(SMALL, 4), normal(1, 4, 3, 16, 16)), strict=True):
        before = copy.deepcopy(randomised(module))
        whole = module(x)
        assert_equal(module(x[1:2]), whole[1:2].detach())
        assert equal_states(module, before)


def test_the_discriminators_parts_in_one_backward_pass():
    """As a critique runs them: features of all images, ends of reals and of fakes, whose u differ."""
    _, discriminator = build_networks(SMALL, 16)
    ends = [discriminator.end(part) for part in discriminator.features(torch.randn(4, 3, 16, 16)).chunk(2)]
    (ends[0].sum() - ends[1].square().sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in discriminator.parameters())


def test_bfloat16_within_the_networks_alone():
    generator, discriminator = map(randomised, build_networks(SMALL, 16))
    latents = inputs(SMALL, 3)
    images = generator(latents)
    scores = discriminator(images)
    rough_images = generator.float()(latents.bfloat16())
    rough_scores = discriminator.float()(images.bfloat16())
    assert rough_images.dtype == rough_scores.dtype == torch.float32
    assert (rough_images - images).abs().mean() < 0.05
    assert (rough_scores - scores).abs().max() < 0.05 * scores.abs().max()


# ------------------------------------------------------------------------------------------------
# Spectral norm and initial weights


@pytest.mark.parametrize(
    "layer", [lambda: Conv(3, 5, 3), lambda: Dense(7, 4), lambda: Dense(2, 9, bias=False)]
)
def test_spectral_norm_against_singular_values(layer):
    layer = randomised(layer())
    layer.train()
    x = normal(0, 2, *([3, 4, 4] if isinstance(layer, Conv) else [layer.weight.shape[1]]))
    for _ in range(300):
        weight, _ = layer.normalized(x)
    largest = np.linalg.svd(matrix_of(layer))[1][0]
    assert_equal(weight, layer.weight.detach().numpy() / largest)


def test_a_power_iteration_by_hand():
    """W = diag(3, 1), u = (1, 1): v ∝ (3, 1), u ∝ (9, 1), and σ = uᵀ W v = √82 / √10."""
    layer = Dense(2, 2, bias=False).double()
    layer.weight.data = torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64))
    u = layer.u.fill_(1)
    sigma = (82 / 10) ** 0.5
    expected = np.diag([3.0, 1.0]) / sigma
    assert_equal(layer.eval()(torch.eye(2, dtype=torch.float64)), expected)
    assert u.tolist() == [1, 1]
    assert_equal(layer.train()(torch.eye(2, dtype=torch.float64)), expected)
    assert_equal(u, np.array([9, 1]) / 82**0.5)


def test_convergence_depends_on_the_weights_alone():
    layer = randomised(Conv(3, 5, 3))
    layer.converge()
    u = layer.u.clone()
    layer.u.normal_()
    layer.converge()
    assert torch.equal(layer.u, u)
    left, (largest, *_), _ = np.linalg.svd(matrix_of(layer))
    assert abs(left[:, 0] @ u.numpy()) == pytest.approx(1, rel=1e-8)
    assert_equal(layer.normalized(u)[0], layer.weight.detach().numpy() / largest)


def test_initial_weights_are_orthogonal():
    for module in build_networks(SMALL, 16):
        for name, layer in spectral_layers(module).items():
            matrix = matrix_of(layer)
            if len(matrix) < matrix.shape[1]:
                matrix = matrix.T
            identity = np.eye(matrix.shape[1])
            np.testing.assert_allclose(matrix.T @ matrix, identity, atol=1e-5, err_msg=name)
            assert layer.bias is None or not layer.bias.any()


# ------------------------------------------------------------------------------------------------
# Attention


def test_attention_against_loops():
    layer = randomised(Attention(16))
    x = normal(1, 2, 16, 4, 6)
    kernels = [layer_.normalized(x)[0] for layer_ in (layer.theta, layer.phi, layer.g, layer.o)]
    assert [len(kernel) for kernel in kernels] == [2, 2, 8, 16]
    weights = [kernel.detach().numpy()[:, :, 0, 0] for kernel in kernels]
    assert_equal(layer(x), numpy_biggan.scaled_attention(x.numpy(), *weights, layer.gamma.item()))


def test_attention_begins_with_nothing():
    layer, x = Attention(16), torch.randn(2, 16, 4, 4)
    assert torch.equal(layer(x), x)


def test_where_there_is_attention():
    def places(resolution, **changes):
        modules = shapes_of_networks(dataclasses.replace(SMALL, **changes), resolution)
        return [
            [name for name, layer in module.named_modules() if isinstance(layer, Attention)]
            for module in modules
        ]

    assert places(16) == [["blocks.r0008.attention"]] * 2
    assert places(8) == [["blocks.r0008.attention"], []]
    assert places(16, attention_resolution=32) == places(16, attention_resolution=0) == [[], []]


# ------------------------------------------------------------------------------------------------
# Batch norm and standing statistics


def test_batch_norm_in_training_has_the_minibatchs_statistics():
    layer = randomised(BatchNorm(5, 3)).train()
    before = copy.deepcopy([layer.mean, layer.variance])
    x, condition = normal(0, 4, 5, 2, 2) * 0.05 + 2, normal(1, 4, 3)
    gain, bias = (
        condition.numpy() @ module.eval().normalized(x)[0].detach().numpy().T
        for module in (layer.gain, layer.bias)
    )
    statistics = x.numpy().mean((0, 2, 3)), x.numpy().var((0, 2, 3))
    assert_equal(layer(x, condition), numpy_biggan.batch_norm(x.numpy(), *statistics, 1 + gain, bias))
    assert all(map(torch.equal, before, [layer.mean, layer.variance]))


def test_batch_norm_of_bfloat16_is_computed_in_float32():
    """A deviation of 1 in maps around 100, where bfloat16 has steps of ½; the result is rounded once."""
    layer = BatchNorm(2, 0)
    x = (normal(0, 64, 2, 4, 4) + 100).bfloat16()
    exact = x.double().numpy()
    expected = numpy_biggan.batch_norm(
        exact, exact.mean((0, 2, 3)), exact.var((0, 2, 3)), np.ones(2), np.zeros(2)
    )
    np.testing.assert_allclose(layer(x).detach().float(), expected, rtol=2**-8, atol=1e-5)
    layer.gather(x, 0.5)
    np.testing.assert_allclose(layer.mean, 0.5 * exact.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(layer.variance, 1 + 0.5 * exact.var((0, 2, 3)), rtol=1e-5)


def test_standing_statistics_are_means_over_minibatches():
    """Of what reaches each norm while every norm has its minibatch's own statistics."""
    generator = randomised(Generator(SMALL, 16))
    latents = inputs(SMALL, 48)
    generator.settle(latents)
    trained = copy.deepcopy(generator).train()
    seen = {}
    for name, layer in trained.named_modules():
        if isinstance(layer, BatchNorm):
            layer.register_forward_pre_hook(
                lambda _, inputs, name=name: seen.setdefault(name, []).append(inputs[0].detach().numpy())
            )
    for minibatch in latents.split(3):
        trained(minibatch)
    assert len(seen) == 5
    for name, minibatches in seen.items():
        assert len(minibatches) == 16
        layer = generator.get_submodule(name)
        for buffer, statistic in ((layer.mean, np.mean), (layer.variance, np.var)):
            expected = np.mean([statistic(x, (0, 2, 3)) for x in minibatches], axis=0)
            np.testing.assert_allclose(buffer, expected, rtol=1e-9, atol=1e-9)
    assert not any(module.training for module in generator.modules())


def test_settling_depends_on_weights_and_latents_alone():
    generator = randomised(Generator(SMALL, 16))
    again = randomised(copy.deepcopy(generator))
    with torch.no_grad():
        for parameter, other in zip(again.parameters(), generator.parameters(), strict=True):
            parameter.copy_(other)
    again.settle(inputs(SMALL, 32, seed=1))
    for module in (generator, again):
        module.settle(inputs(SMALL, 32))
    assert equal_states(generator, again)


def test_an_averaged_generator_has_its_own_buffers():
    generator = Generator(SMALL, 16)
    averaged = copy.deepcopy(generator).requires_grad_(False).eval()
    averaged.share_buffers(generator)
    averaged.settle(inputs(SMALL, 32).float())
    before = copy.deepcopy(averaged)
    with torch.no_grad():
        generator(inputs(SMALL, 4).float())
    assert equal_states(averaged, before)
    assert not equal_states(averaged, generator)


# ------------------------------------------------------------------------------------------------
# Truncation and parameters


def test_truncation_shortens_the_latents_alone():
    generator = randomised(Generator(SMALL, 16))
    latents = inputs(SMALL, 3)
    center = generator.start(latents).mean(0)
    shorter = torch.cat([0.3 * latents[:, :6], latents[:, 6:]], 1)
    truncated = generator.truncate(generator.start(latents), center, 0.3)
    assert_equal(generator.grow(truncated), generator(shorter).detach())
    assert torch.equal(generator.truncate(latents, center, torch.ones((), dtype=torch.float64)), latents)


def test_parameters_that_fit_no_networks():
    uneven = ("latent_size", "must be a multiple of 7, the chunks of hierarchical latents at 256 px")
    assert list(PAPER.faults(128)) == []
    assert list(PAPER.faults(256)) == [uneven]
    assert list(dataclasses.replace(PAPER, hierarchical_latents=False).faults(256)) == []
    assert [key for key, _ in PAPER.faults(4)] == ["architecture"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mbstd_group_size": 4}, "mbstd_group_size: must be 0"),
        ({"attention_resolution": 48}, "attention_resolution: must be 0 or a power of two from 8 to 1024"),
    ],
)
def test_parameters_that_no_biggan_has(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PAPER, **changes)
