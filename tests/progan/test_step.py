"""The mathematics of an iteration against float64 numpy, for networks of a few matrices.

What the networks minimise is written once more with its derivatives by the images worked out by hand; the
gradients by the parameters, which go through those a second time, are then finite differences of that.
"""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from progan import step
from progan.config import TrainingConfig

N, PIXELS, HIDDEN, LATENT, CLASSES = 4, 3 * 2 * 2, 5, 3, 3

CASES = {
    "wgan-gp": {"penalty": 10.0, "target": 1.0, "drift": 0.001},
    "wgan-gp as for CIFAR-10": {"penalty": 10.0, "target": 750.0, "drift": 0.001},
    "non-saturating": {"r1": 0.0},
    "non-saturating with R1": {"r1": 4.0},
    "least-squares": {},
    "hinge": {},
}


@pytest.fixture
def training(small_config):
    """A function that returns the training configuration of a case."""

    def make(case, **changes) -> TrainingConfig:
        loss = case.split()[0]
        return dataclasses.replace(small_config.training, loss=loss, loss_parameters=CASES[case], **changes)

    return make


# ------------------------------------------------------------------------------------------------
# Two networks as vectors of parameters: D(x) = W₂ tanh(W₁ x + b₁) + b₂ and G(z, y) = tanh(W [z, y])


def sizes(classes):
    return [(HIDDEN, PIXELS), (HIDDEN,), (1 + classes, HIDDEN), (1 + classes,)]


def split(vector, shapes):
    pieces, begin = [], 0
    for shape in shapes:
        pieces.append(vector[begin : begin + np.prod(shape)].reshape(shape))
        begin += np.prod(shape)
    return pieces


def judge(d, x, classes):
    """Outputs [N, 1 + classes] and the scores' gradients by x [N, PIXELS], by the chain rule."""
    w1, b1, w2, b2 = split(d, sizes(classes))
    hidden = np.tanh(x @ w1.T + b1)
    return hidden @ w2.T + b2, (w2[0] * (1 - hidden**2)) @ w1


def make(g, z, y):
    return np.tanh(np.concatenate([z, y], 1) @ g.reshape(PIXELS, -1).T)


def cross_entropy(logits, y):
    return np.mean(np.log(np.exp(logits).sum(1)) - (logits * y).sum(1))


def critic_by_numpy(d, reals, fakes, y, u, case, weight):
    classes, parameters = y.shape[1], CASES[case]
    (real_outputs, at_reals), (fake_outputs, _) = judge(d, reals, classes), judge(d, fakes, classes)
    r, f = real_outputs[:, 0], fake_outputs[:, 0]
    if case.startswith("wgan-gp"):
        _, at_mixed = judge(d, (1 - u[:, None]) * reals + u[:, None] * fakes, classes)
        norms, target = np.linalg.norm(at_mixed, axis=1), parameters["target"]
        value = (
            np.mean(f) - np.mean(r) + 10 / target**2 * np.mean((norms - target) ** 2) + 1e-3 * np.mean(r**2)
        )
    elif case.startswith("non-saturating"):
        value = np.mean(np.log1p(np.exp(-r))) + np.mean(np.log1p(np.exp(f)))
        value += parameters["r1"] / 2 * np.mean((at_reals**2).sum(1))
    elif case == "least-squares":
        value = np.mean(r**2) + 0.1 * np.mean((f - 1) ** 2)
    else:
        value = np.mean(np.clip(1 - r, 0, None)) + np.mean(np.clip(1 + f, 0, None))
    if classes:
        value += weight * (cross_entropy(real_outputs[:, 1:], y) + cross_entropy(fake_outputs[:, 1:], y))
    return value


def generator_by_numpy(g, d, z, y, case, weight):
    outputs, _ = judge(d, make(g, z, y), y.shape[1])
    f = outputs[:, 0]
    value = {
        "wgan-gp": -np.mean(f),
        "non-saturating": np.mean(np.log1p(np.exp(-f))),
        "least-squares": np.mean(f**2),
        "hinge": -np.mean(f),
    }[case.split()[0]]
    return value + (weight * cross_entropy(outputs[:, 1:], y) if y.shape[1] else 0)


def differences(function, x, width=1e-5):
    """d function / dx by central differences."""
    gradient = np.zeros_like(x)
    for i in range(len(x)):
        shift = np.zeros_like(x)
        shift[i] = width
        gradient[i] = (function(x + shift) - function(x - shift)) / (2 * width)
    return gradient


class TinyDiscriminator(nn.Module):
    """`judge` as a module, alpha unused."""

    def __init__(self, vector, classes):
        super().__init__()
        self.pieces = nn.ParameterList(torch.tensor(piece) for piece in split(vector, sizes(classes)))

    def forward(self, images, alpha=None):
        w1, b1, w2, b2 = self.pieces
        return torch.tanh(images.flatten(1) @ w1.T + b1) @ w2.T + b2


def as_images(x):
    return torch.tensor(x).view(N, 3, 2, 2)


def made_up(seed, classes):
    """Parameters d and g, reals, latents, one-hot labels and mixing positions."""
    random = np.random.default_rng(seed)
    d = random.normal(size=sum(int(np.prod(shape)) for shape in sizes(classes)))
    g = random.normal(size=PIXELS * (LATENT + classes))
    y = np.eye(classes)[random.integers(classes, size=N)] if classes else np.zeros((N, 0))
    return d, g, random.normal(size=(N, PIXELS)), random.normal(size=(N, LATENT)), y, random.uniform(size=N)


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients]).numpy()


@pytest.mark.parametrize("classes", [0, CLASSES])
@pytest.mark.parametrize("case", CASES)
def test_the_critics_loss(training, case, classes):
    """Values to 1e-12; gradients, of second order if the loss has image gradients, to 1e-6."""
    d, g, reals, z, y, u = made_up(0, classes)
    fakes = make(g, z, y)
    network = TinyDiscriminator(d, classes)
    outcome = step.critique(
        network,
        as_images(reals),
        as_images(fakes),
        torch.tensor(y),
        torch.tensor(u),
        None,
        training(case, label_weight=0.7),
    )
    gradient = flat(torch.autograd.grad(outcome.loss, network.parameters()))

    def loss(d):
        return critic_by_numpy(d, reals, fakes, y, u, case, 0.7)

    assert outcome.loss.item() == pytest.approx(loss(d), rel=1e-12)
    np.testing.assert_allclose(gradient, differences(loss, d), rtol=1e-6, atol=1e-8)
    (real, at_reals), (fake, _) = judge(d, reals, classes), judge(d, fakes, classes)
    mixed = (1 - u[:, None]) * reals + u[:, None] * fakes
    at = {"wgan-gp": judge(d, mixed, classes)[1], "non-saturating": at_reals}.get(case.split()[0], 0 * reals)
    norm = 0 if case == "non-saturating" else np.linalg.norm(at, axis=1).mean()
    expected = [outcome.loss.item(), real[:, 0].mean(), fake[:, 0].mean(), norm]
    np.testing.assert_allclose(outcome.statistics, expected, rtol=1e-12)
    np.testing.assert_allclose(outcome.fake_outputs.detach(), fake, rtol=1e-12)


@pytest.mark.parametrize("classes", [0, CLASSES])
@pytest.mark.parametrize("case", CASES)
def test_the_generators_loss(training, case, classes):
    """Values to 1e-12, gradients to 1e-6."""
    d, g, _, z, y, _ = made_up(0, classes)
    weights = torch.tensor(g.reshape(PIXELS, -1)).requires_grad_()
    fakes = torch.tanh(torch.cat([torch.tensor(z), torch.tensor(y)], 1) @ weights.T)
    outputs = TinyDiscriminator(d, classes)(fakes)
    value = step.generator_loss(outputs, torch.tensor(y), training(case, label_weight=0.7))

    def loss(g):
        return generator_by_numpy(g, d, z, y, case, 0.7)

    assert value.item() == pytest.approx(loss(g), rel=1e-12)
    gradient = flat(torch.autograd.grad(value, [weights]))
    np.testing.assert_allclose(gradient, differences(loss, g), rtol=1e-6, atol=1e-8)


def test_the_penalty_does_not_teach_the_class_logits(training):
    """Without the label term, only the score's row of W₂ has gradients."""
    d, g, reals, z, y, u = made_up(0, CLASSES)
    network = TinyDiscriminator(d, CLASSES)
    inputs = as_images(reals), as_images(make(g, z, y)), torch.tensor(y), torch.tensor(u)
    outcome = step.critique(network, *inputs, None, training("wgan-gp", label_weight=0.0))
    gradient = torch.autograd.grad(outcome.loss, network.parameters())[2]
    assert gradient[0].abs().min() > 0
    assert gradient[1:].abs().max() == 0


# ------------------------------------------------------------------------------------------------
# Inputs


def test_reals_by_hand():
    images = torch.tensor([[[[0, 255], [51, 204]]]], dtype=torch.uint8)
    plain = step.prepare_reals(images, None, None)
    assert plain.dtype == torch.float32
    torch.testing.assert_close(plain[0, 0], torch.tensor([[-1.0, 1.0], [-0.6, 0.6]]))
    mirrored = step.prepare_reals(images, torch.tensor([True]), None)
    torch.testing.assert_close(mirrored[0, 0], torch.tensor([[1.0, -1.0], [0.6, -0.6]]))
    faded = step.prepare_reals(images, None, torch.tensor(0.5))  # half way to the mean, which is 0
    torch.testing.assert_close(faded[0, 0], torch.tensor([[-0.5, 0.5], [-0.3, 0.3]]))


def test_draws_are_a_pure_function(small_config):
    network = dataclasses.replace(small_config.network, label_size=3)
    labels = torch.tensor([0, 2, 2, 2])

    def drawn(seed, shown):
        return step.draw(seed, shown, 64, network, labels)

    for first, second in zip(drawn(1, 16), drawn(1, 16), strict=True):
        assert torch.equal(first, second)
    for other in (drawn(2, 16), drawn(1, 32)):
        assert not torch.equal(drawn(1, 16).critic_latents, other.critic_latents)
        assert not torch.equal(drawn(1, 16).generator_labels, other.generator_labels)
    draws = drawn(1, 16)
    assert not torch.equal(draws.critic_latents, draws.generator_latents)
    assert 0 <= draws.mix.min() <= draws.mix.max() < 1
    assert 16 < draws.mirror.sum() < 48
    zeros, ones, twos = draws.generator_labels.sum(0).tolist()  # as often as in the training set
    assert 4 < zeros < 28
    assert ones == 0
    assert zeros + twos == 64


def test_draws_without_labels_are_those_with_them_but_for_the_labels(small_config):
    network = small_config.network
    without = step.draw(1, 16, 8, network, torch.zeros(64, dtype=torch.int64))
    with_labels = step.draw(1, 16, 8, dataclasses.replace(network, label_size=3), torch.arange(3))
    assert without.generator_labels.shape == (8, 0)
    for name in ("critic_latents", "generator_latents", "mix", "mirror"):
        assert torch.equal(getattr(without, name), getattr(with_labels, name))


def test_random_streams_differ():
    seeds = [step.stream_seed(*entropy) for entropy in [(1, 16), (1, 32), (2, 16), (1, 16, 1), (1, 32, 1)]]
    assert len(set(seeds)) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)
