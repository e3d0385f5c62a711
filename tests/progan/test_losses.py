"""Each loss against its formula in numpy, and its gradients against derivatives taken by hand."""

import math

import numpy as np
import pytest
import torch

from progan import losses
from progan.losses import LOSSES


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norms_of(gradients):
    return np.sqrt((gradients**2).sum(axis=(1, 2, 3)))


# The critic's loss of real scores r, fake scores f and gradients g, and the generator's …
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
DERIVATIVES = {
    "wgan-gp": (lambda r, d: -1 + 2 * d * r, lambda f: np.ones_like(f), lambda f: -np.ones_like(f)),
    "non-saturating": (lambda r, d: sigmoid(r) - 1, sigmoid, lambda f: sigmoid(f) - 1),
    "least-squares": (lambda r, d: 2 * r, lambda f: 0.2 * (f - 1), lambda f: 2 * f),
    "hinge": (lambda r, d: -1.0 * (r < 1), lambda f: 1.0 * (f > -1), lambda f: -np.ones_like(f)),
}


def made_up(seed):
    random = np.random.default_rng(seed)
    return 2 * random.normal(size=8), 2 * random.normal(size=8), random.normal(size=(8, 3, 4, 4))


def built(name, parameters):
    return LOSSES[name](**dict(parameters))


def test_every_loss_is_here():
    assert {name for name, _ in FORMULAS} == set(LOSSES) == set(DERIVATIVES)


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


@pytest.mark.parametrize(("name", "parameters"), FORMULAS)
def test_gradients_by_scores(name, parameters):
    """To 1e-12: each is the mean's share, 1/N of the derivative."""
    loss = built(name, parameters)
    by_real, by_fake, by_made = DERIVATIVES[name]
    real, fake, gradients = made_up(0)
    r, f = torch.tensor(real).requires_grad_(), torch.tensor(fake).requires_grad_()
    given = torch.tensor(gradients) if loss.gradients_at else None
    of_critic = torch.autograd.grad(loss.critic(r, f, given), (r, f))
    (of_generator,) = torch.autograd.grad(loss.generator(f), f)
    drift = dict(parameters).get("drift", 0)
    np.testing.assert_allclose(of_critic[0], by_real(real, drift) / 8, rtol=1e-12)
    np.testing.assert_allclose(of_critic[1], by_fake(fake) / 8, rtol=1e-12)
    np.testing.assert_allclose(of_generator, by_made(fake) / 8, rtol=1e-12)


def test_gradients_by_image_gradients():
    """d/dg of λ/γ² (‖g‖ - γ)² is 2 λ/γ² (1 - γ/‖g‖) g, of γ/2 ‖g‖² it is γ g; to 1e-12."""
    real, fake, gradients = made_up(0)
    norms = norms_of(gradients).reshape(-1, 1, 1, 1)
    wanted = {
        ("wgan-gp", (("penalty", 10.0), ("target", 3.0), ("drift", 0.0))): 20
        / 9
        * (1 - 3 / norms)
        * gradients,
        ("non-saturating", (("r1", 5.0),)): 5 * gradients,
    }
    for key, expected in wanted.items():
        g = torch.tensor(gradients).requires_grad_()
        value = built(*key).critic(torch.tensor(real), torch.tensor(fake), g)
        np.testing.assert_allclose(torch.autograd.grad(value, g)[0], expected / 8, rtol=1e-12)


def test_what_each_loss_asks_of_the_step():
    asked = {key: (built(*key).gradients_at, built(*key).instance_noise) for key in FORMULAS}
    assert list(asked.values()) == [
        ("mixed", False),
        ("mixed", False),
        (None, False),
        ("reals", False),
        (None, True),
        (None, False),
    ]


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


@pytest.mark.parametrize(
    ("name", "parameters", "told"),
    [
        ("wgan-gp", {"penalty": 10.0, "target": 0.0, "drift": 0.0}, "target must be positive"),
        ("non-saturating", {"r1": -1.0}, "r1 must not be negative"),
    ],
)
def test_parameters_that_make_no_sense(name, parameters, told):
    with pytest.raises(ValueError, match=told):
        LOSSES[name](**parameters)


def test_mix_by_hand():
    reals, fakes = torch.zeros(3, 1, 1, 1), torch.full((3, 1, 1, 1), 8.0)
    assert losses.mix(reals, fakes, torch.tensor([0.0, 0.25, 0.75])).flatten().tolist() == [0, 2, 6]


def test_gradient_norms_by_hand():
    gradients = torch.tensor([3.0, 0.0, 0.0, 4.0, 0.0, 2.0, 0.0, 0.0]).view(2, 1, 2, 2)
    assert losses.gradient_norms(gradients).tolist() == [5.0, 2.0]
