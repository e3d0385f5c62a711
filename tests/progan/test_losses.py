"""Losses against formulas written in numpy, and their second-order gradients against finite differences."""

import numpy as np
import pytest
import torch

from progan import losses


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("target", [1.0, 750.0])
def test_wgan_gp_critic_against_numpy(seed, target):
    random = np.random.default_rng(seed)
    real, fake = random.normal(size=8), random.normal(size=8)
    gradients = random.normal(size=(8, 3, 4, 4))
    norms = np.sqrt((gradients**2).sum(axis=(1, 2, 3)))
    expected = np.mean(fake - real + 10 / target**2 * (norms - target) ** 2 + 0.001 * real**2)
    loss = losses.wgan_gp_critic(
        torch.tensor(real),
        torch.tensor(fake),
        torch.tensor(gradients),
        penalty=10.0,
        target=target,
        drift=0.001,
    )
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_wgan_generator_wants_high_scores():
    assert losses.wgan_generator(torch.tensor([1.0, 3.0])).item() == -2.0


def test_mix_by_hand():
    reals, fakes = torch.zeros(3, 1, 1, 1), torch.full((3, 1, 1, 1), 8.0)
    assert losses.mix(reals, fakes, torch.tensor([0.0, 0.25, 0.75])).flatten().tolist() == [0, 2, 6]


def test_the_penalty_reaches_the_weights():
    """d penalty / d weight, through the gradient's gradient, equals finite differences in float64."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(4, 1, 2, 2, generator=random, dtype=torch.float64)
    first = torch.randn(5, 4, generator=random, dtype=torch.float64)
    last = torch.randn(5, generator=random, dtype=torch.float64)

    def penalty(weight):
        mixed = images.clone().requires_grad_()
        scores = torch.tanh(mixed.flatten(1) @ weight.T) @ last
        (gradients,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
        zero = torch.zeros(4, dtype=torch.float64)
        return losses.wgan_gp_critic(zero, zero, gradients, penalty=10.0, target=1.0, drift=0.001)

    assert torch.autograd.gradcheck(penalty, (first.requires_grad_(),))
