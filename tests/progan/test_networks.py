"""The networks against the reference's parameter counts and small cases worked out by hand."""

import math

import numpy as np
import pytest
import torch

from progan.networks import (
    Conv,
    Dense,
    Discriminator,
    FeatureMaps,
    FirstDense,
    Generator,
    downsample,
    fade_reals,
    minibatch_stddev,
    one_hot,
    pixel_norm,
    upsample,
)


def parameter_count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("resolution", "base", "maximum", "latent", "channels", "labels", "generator", "discriminator"),
    [
        (1024, 8192, 512, 512, 3, 0, 23_079_115, 23_087_249),
        (512, 8192, 512, 512, 3, 0, 23_072_120, 23_080_225),
        (256, 8192, 512, 512, 3, 0, 23_044_309, 23_052_353),
        (128, 8192, 512, 512, 3, 0, 22_933_394, 22_941_313),
        (64, 8192, 512, 512, 3, 0, 22_490_383, 22_498_049),
        (32, 8192, 512, 512, 3, 0, 20_719_628, 20_726_785),
        (32, 8192, 512, 512, 3, 10, 20_801_548, 20_731_915),
        (32, 4096, 128, 128, 3, 0, 1_296_908, 1_298_689),
        (128, 2048, 512, 512, 3, 0, 13_629_810, 13_636_897),
        (32, 8192, 512, 512, 1, 0, 20_715_524, 20_722_689),
    ],
)
def test_parameter_counts_of_the_reference(
    resolution, base, maximum, latent, channels, labels, generator, discriminator
):
    maps = FeatureMaps(base, 1.0, maximum)
    with torch.device("meta"):
        assert parameter_count(Generator(resolution, latent, maps, channels, labels)) == generator
        assert parameter_count(Discriminator(resolution, maps, channels, labels)) == discriminator


@pytest.mark.parametrize(
    ("layer", "multiplier"),
    [
        (Conv(8, 4, 3), math.sqrt(2 / 72)),
        (Conv(8, 3, 1, gain=1), math.sqrt(1 / 8)),
        (Dense(32, 5), math.sqrt(2 / 32)),
        (Dense(32, 1, gain=1), math.sqrt(1 / 32)),
        (FirstDense(16, 4), math.sqrt(2) / 4 / math.sqrt(16)),
    ],
)
def test_gains(layer, multiplier):
    assert layer.multiplier == pytest.approx(multiplier)
    assert torch.equal(layer.bias, torch.zeros_like(layer.bias))


def test_one_hot_by_hand():
    assert one_hot(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot(torch.tensor([0, 0]), 0).shape == (2, 0)


def test_which_layers_have_which_gain():
    maps = FeatureMaps(64, 1.0, 16)
    generator, discriminator = Generator(16, 16, maps), Discriminator(16, maps)
    gains = {
        name: layer.multiplier * math.sqrt(math.prod(layer.weight.shape[1:]))
        for network in (generator, discriminator)
        for name, layer in network.named_modules()
        if hasattr(layer, "multiplier")
    }
    special = {name: gain for name, gain in gains.items() if gain != pytest.approx(math.sqrt(2))}
    assert special == {
        "blocks.r0004.dense": pytest.approx(math.sqrt(2) / 4),
        "blocks.r0004.dense1": pytest.approx(1),
        **{f"to_rgb.r{level:04d}": pytest.approx(1) for level in (4, 8, 16)},
    }


def test_weights_are_drawn_from_the_unit_normal():
    torch.manual_seed(0)
    weight = Conv(64, 64, 3).weight.detach()
    assert weight.mean().abs() < 0.02
    assert weight.std() == pytest.approx(1, abs=0.02)


def test_equalised_layers_keep_the_variance():
    torch.manual_seed(0)
    x = torch.randn(64, 256)
    assert Dense(256, 512, gain=1)(x).detach().std() == pytest.approx(1, abs=0.05)


def test_pixel_norm_by_hand():
    x = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)  # mean square 12.5
    np.testing.assert_allclose(pixel_norm(x).flatten(), [3 / math.sqrt(12.5), 4 / math.sqrt(12.5)], rtol=1e-6)


def test_resampling_by_hand():
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]]).view(1, 1, 2, 2)
    assert downsample(x).flatten().tolist() == [3.0]
    assert upsample(x)[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 6, 6], [3, 3, 6, 6]]


def test_minibatch_stddev_groups_are_strided():
    """Eight images in groups of four: 0, 2, 4, 6 form one group and 1, 3, 5, 7 the other."""
    x = torch.zeros(8, 2, 3, 3)
    x[[2, 6]] = 4.0  # in the even group: deviation 2 everywhere
    out = minibatch_stddev(x, 4)
    assert out.shape == (8, 3, 3, 3)
    assert torch.equal(out[:, :2], x)
    np.testing.assert_allclose(out[0::2, 2], 2, rtol=1e-6)
    np.testing.assert_allclose(out[1::2, 2], 1e-4, rtol=1e-4)


def test_minibatch_stddev_against_numpy():
    x = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    values = x.double().numpy()
    for i in range(2):
        members = values[[i, i + 2, i + 4]]
        expected = np.sqrt(((members - members.mean(0)) ** 2).mean(0) + 1e-8).mean()
        np.testing.assert_allclose(minibatch_stddev(x, 3)[i, 3], expected, rtol=1e-5)


def test_minibatch_stddev_wants_whole_groups():
    assert minibatch_stddev(torch.zeros(2, 1, 4, 4), 4).shape == (2, 2, 4, 4)
    with pytest.raises(ValueError, match="minibatch 6 is not a multiple"):
        minibatch_stddev(torch.zeros(6, 1, 4, 4), 4)


def numpy_conv(x, weight, bias):
    """A 'same' convolution as nested loops. x: [C, H, W]."""
    outputs, _, kernel, _ = weight.shape
    padded = np.pad(x, ((0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2))
    height, width = x.shape[1:]
    out = np.zeros((outputs, height, width))
    for o in range(outputs):
        for i in range(height):
            for j in range(width):
                out[o, i, j] = (padded[:, i : i + kernel, j : j + kernel] * weight[o]).sum() + bias[o]
    return out


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def normalised(x):
    return x / np.sqrt((x**2).mean(0) + 1e-8)


class Layers:
    """Numpy views of a network's layers, scaled by a formula of their own."""

    def __init__(self, network):
        self.state = {name: value.double().numpy() for name, value in network.state_dict().items()}

    def conv(self, name, x, gain=math.sqrt(2)):
        weight = self.state[f"{name}.weight"]
        fan_in = weight[0].size
        return numpy_conv(x, weight * gain / math.sqrt(fan_in), self.state[f"{name}.bias"])

    def dense(self, name, x, gain=math.sqrt(2)):
        weight = self.state[f"{name}.weight"]
        return weight @ x * gain / math.sqrt(weight.shape[1]) + self.state[f"{name}.bias"]


def randomised(network):
    """Give the biases values, so that their place in the order of operations shows."""
    generator = torch.Generator().manual_seed(5)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return network


@pytest.mark.parametrize("alpha", [0.3, None])
def test_generator_against_numpy(alpha):
    maps = FeatureMaps(16, 1.0, 4)
    network = randomised(Generator(8, 4, maps))
    latent = torch.randn(1, 4, generator=torch.Generator().manual_seed(1))
    n = Layers(network)

    z = normalised(latent[0].double().numpy())
    x = (n.state["blocks.r0004.dense.weight"] @ z * math.sqrt(2) / 4 / math.sqrt(4)).reshape(-1, 4, 4)
    x = normalised(leaky(x + n.state["blocks.r0004.dense.bias"][:, None, None]))
    x4 = normalised(leaky(n.conv("blocks.r0004.conv", x)))
    x = x4.repeat(2, axis=1).repeat(2, axis=2)
    x = normalised(leaky(n.conv("blocks.r0008.conv0", x)))
    x = normalised(leaky(n.conv("blocks.r0008.conv1", x)))
    expected = n.conv("to_rgb.r0008", x, gain=1)
    if alpha is not None:
        before = n.conv("to_rgb.r0004", x4, gain=1).repeat(2, axis=1).repeat(2, axis=2)
        expected = alpha * expected + (1 - alpha) * before

    image = network(latent, None if alpha is None else torch.tensor(alpha))
    np.testing.assert_allclose(image[0].detach(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.3, None])
def test_discriminator_against_numpy(alpha):
    maps = FeatureMaps(16, 1.0, 4)
    network = randomised(Discriminator(8, maps, mbstd_group_size=2))
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    n = Layers(network)

    def pooled(x):
        return x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean(axis=(2, 4))

    features = []
    for image in images.double().numpy():
        x = leaky(n.conv("from_rgb.r0008", image))
        x = leaky(n.conv("blocks.r0008.conv0", x))
        x = pooled(leaky(n.conv("blocks.r0008.conv1", x)))
        if alpha is not None:
            x = alpha * x + (1 - alpha) * leaky(n.conv("from_rgb.r0004", pooled(image)))
        features.append(x)
    deviation = np.sqrt(np.var(features, axis=0) + 1e-8).mean()
    expected = []
    for x in features:
        x = np.concatenate([x, np.full((1, 4, 4), deviation)])
        x = leaky(n.conv("blocks.r0004.conv", x))
        x = leaky(n.dense("blocks.r0004.dense0", x.ravel()))
        expected.append(n.dense("blocks.r0004.dense1", x, gain=1))

    scores = network(images, None if alpha is None else torch.tensor(alpha))
    np.testing.assert_allclose(scores.detach(), expected, rtol=1e-4, atol=1e-5)


def test_a_fade_that_begins_changes_nothing():
    """At alpha 0 the grown networks are the ones before them, and the reals are those of half the size."""
    maps = FeatureMaps(32, 1.0, 8)
    small, grown = Generator(8, 8, maps), Generator(16, 8, maps)
    grown.load_state_dict(grown.state_dict() | small.state_dict())
    latents, zero = torch.randn(4, 8), torch.tensor(0.0)
    torch.testing.assert_close(grown(latents, zero), upsample(small(latents)))

    small_critic, grown_critic = Discriminator(8, maps), Discriminator(16, maps)
    grown_critic.load_state_dict(grown_critic.state_dict() | small_critic.state_dict())
    images = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(grown_critic(images, zero), small_critic(downsample(images)))
    torch.testing.assert_close(fade_reals(images, zero), upsample(downsample(images)))


def test_a_fade_that_ends_changes_nothing():
    maps = FeatureMaps(32, 1.0, 8)
    one = torch.tensor(1.0)
    generator, latents = Generator(16, 8, maps), torch.randn(4, 8)
    torch.testing.assert_close(generator(latents, one), generator(latents))
    critic, images = Discriminator(16, maps), torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(critic(images, one), critic(images))
    torch.testing.assert_close(fade_reals(images, one), images)


def test_state_keys_never_change_as_networks_grow():
    maps = FeatureMaps(64, 1.0, 8)
    for make in (lambda r: Generator(r, 8, maps), lambda r: Discriminator(r, maps)):
        for resolution in (4, 8, 16):
            small, grown = make(resolution).state_dict(), make(2 * resolution).state_dict()
            assert small.keys() < grown.keys()
            assert all(small[name].shape == grown[name].shape for name in small)
