"""Each loss against its formula in numpy, and far from zero."""

import math

import numpy as np
import pytest
import torch

from progan.losses import LOSSES, orthogonality


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norms_of(gradients):
    return np.sqrt((gradients**2).sum(axis=(1, 2, 3)))


# The critic's loss of real scores r, fake scores f and gradients g, and the generator's.
FORMULAS = {
    ("wgan-gp", (("penalty", 10.0), ("target", 1.0), ("drift", 0.001))): (
        lambda r, f, g: np.mean(f - r + 10 * (norms_of(g) - 1) ** 2 + 0.001 * r**2),
        lambda f: -np.mean(f),
    ),
    ("wgan-gp", (("penalty", 10.0), ("target", 750.0), ("drift", 0.0))): (
        lambda r, f, g: np.mean(f - r + 10 / 750**2 * (norms_of(g) - 750) ** 2),
        lambda f: -np.mean(f),
    ),
    ("non-saturating", (("r1", 0.0),)): (
        lambda r, f, g: np.mean(-np.log(sigmoid(r)) - np.log(1 - sigmoid(f))),
        lambda f: np.mean(-np.log(sigmoid(f))),
    ),
    ("non-saturating", (("r1", 5.0),)): (
        lambda r, f, g: np.mean(softplus(-r) + softplus(f)) + 2.5 * np.mean(norms_of(g) ** 2),
        lambda f: np.mean(softplus(-f)),
    ),
    ("least-squares", ()): (
        lambda r, f, g: np.mean(r**2) + 0.1 * np.mean((f - 1) ** 2),
        lambda f: np.mean(f**2),
    ),
    ("hinge", ()): (
        lambda r, f, g: np.mean(np.maximum(1 - r, 0)) + np.mean(np.maximum(1 + f, 0)),
        lambda f: -np.mean(f),
    ),
}

# … and their derivatives: by r and f for the critic, by f for the generator.


def made_up(seed):
    random = np.random.default_rng(seed)
    return 2 * random.normal(size=8), 2 * random.normal(size=8), random.normal(size=(8, 3, 4, 4))


def built(name, parameters):
    return LOSSES[name](**dict(parameters))


def test_every_loss_is_here():
    assert {name for name, _ in FORMULAS} == set(LOSSES)


@pytest.mark.parametrize(("name", "parameters"), FORMULAS)
def test_values(name, parameters):
    """To 1e-12."""
    loss = built(name, parameters)
    critic, generator = FORMULAS[name, parameters]
    real, fake, gradients = made_up(0)
    given = torch.tensor(gradients) if loss.gradients_at else None
    value = loss.critic(torch.tensor(real), torch.tensor(fake), given)
    assert value.shape == ()
    assert value.item() == pytest.approx(critic(real, fake, gradients), rel=1e-12)
    assert loss.generator(torch.tensor(fake)).item() == pytest.approx(generator(fake), rel=1e-12)


def test_scores_far_out_stay_finite():
    far = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = LOSSES["non-saturating"](r1=0.0)
    value = loss.critic(far, far, None)
    assert value.item() == 1e4
    gradient = torch.autograd.grad(value, far)[0]
    assert gradient.tolist() == [-0.5, 0.5]
    assert loss.generator(far).item() == 5e3


def test_r1_of_a_flat_discriminator_has_gradient_zero_not_nan():
    flat = torch.zeros(2, 3, 4, 4, requires_grad=True)
    value = LOSSES["non-saturating"](r1=10.0).critic(torch.zeros(2), torch.zeros(2), flat)
    assert value.item() == pytest.approx(2 * math.log(2))
    assert torch.equal(torch.autograd.grad(value, flat)[0], torch.zeros_like(flat))


def test_orthogonality_is_that_of_the_rows():
    """Of rows [1, 1], [1, -1], [2, 0]: products 0, 2 and 2, each twice."""
    weight = torch.tensor([[1.0, 1.0], [1.0, -1.0], [2.0, 0.0]])
    kernel = torch.cat([weight, weight], 1).view(3, 1, 2, 2) / math.sqrt(2)
    assert orthogonality([weight]) == 16
    assert orthogonality([weight, kernel]).item() == pytest.approx(32)
    orthogonal, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))
    assert orthogonality([3 * orthogonal]).item() == pytest.approx(0, abs=1e-20)
