"""Adversarial losses as functions of scores and gradients; lower is better for whom they are named."""

import torch
from torch import Tensor


def wgan_generator(fake_scores: Tensor) -> Tensor:
    """-E[D(G(z))]. fake_scores: [N] → 0-d."""
    return -fake_scores.mean()


def wgan_gp_critic(
    real_scores: Tensor,
    fake_scores: Tensor,
    mixed_gradients: Tensor,
    *,
    penalty: float,
    target: float,
    drift: float,
) -> Tensor:
    """E[D(G(z)) - D(x) + λ/γ² (‖∇D(x̂)‖ - γ)² + ε D(x)²] (paper §A.1; γ as for CIFAR-10, appendix B).

    Scores: [N]; mixed_gradients: [N, C, H, W], of the scores with respect to the mixed images → 0-d.
    """
    norms = gradient_norms(mixed_gradients)
    gradient_penalty = (norms - target).square() * (penalty / target**2)
    return (fake_scores - real_scores + gradient_penalty + drift * real_scores.square()).mean()


def mix(reals: Tensor, fakes: Tensor, position: Tensor) -> Tensor:
    """Points between real and fake images: real + (fake - real) · u. position: u in [0, 1), [N]."""
    return torch.lerp(reals, fakes, position.view(-1, 1, 1, 1))


def gradient_norms(gradients: Tensor) -> Tensor:
    """The Euclidean norm of each image's gradient. [N, C, H, W] → [N]."""
    return gradients.square().sum(dim=(1, 2, 3)).sqrt()
