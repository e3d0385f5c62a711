"""Adversarial losses by name, as functions of scores and gradients; lower is better.

A loss is one function. Its keyword arguments are those in `training.loss_parameters`; it returns what the
discriminator (the critic) and the generator minimise. This module uses only methods of tensors, so that
params.yaml is checked against the functions themselves without importing torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LazyTerm:
    """A term that gets updates of its own, one after every `interval` others (Karras et al. 2020, §3.1).

    It is multiplied by the interval. Adam, whose moments it shares, then has learning rate · c, β₁^c and β₂^c
    for both kinds of update, with c = interval / (interval + 1) (appendix B).
    """

    weight: float
    interval: int


@dataclass(frozen=True)
class Loss:
    """What both networks minimise, and what this requires of the training step.

    critic: real scores [N], fake scores [N], gradients float [N, C, H, W] of the scores with respect to the
    images that `gradients_at` names (None if it is None) → 0-d. generator: fake scores [N] → 0-d.
    instance_noise: whether the discriminator's features are multiplied by noise (progan/noise.py).
    lazy_penalty: the discriminator also minimises weight · E‖gradients‖²; path_length: the generator weight ·
    E[(‖gradients‖ - a)²], where a follows the mean of those norms (Karras et al. 2020, equation 4).
    """

    critic: Callable[[Tensor, Tensor, Any], Tensor]
    generator: Callable[[Tensor], Tensor]
    gradients_at: Literal["mixed", "reals"] | None = None
    instance_noise: bool = False
    lazy_penalty: LazyTerm | None = None  # of gradients at reals, float [N, C, H, W]
    path_length: LazyTerm | None = None  # of gradients with respect to styles, float [N, layers, style_size]


def wgan_gp(*, penalty: float, target: float, drift: float) -> Loss:
    """Wasserstein loss with a gradient penalty (Gulrajani et al. 2017; paper, appendix A.1).

    Critic: E[D(G(z)) - D(x) + λ/γ² (‖∇D(x̂)‖ - γ)² + ε D(x)²], where x̂ lies between x and G(z);
    generator: -E[D(G(z))]. λ is `penalty`, γ `target` (750 in the paper's CIFAR-10), ε `drift`.
    """
    if target <= 0:
        raise ValueError("target must be positive")

    def critic(real_scores: Tensor, fake_scores: Tensor, gradients: Tensor) -> Tensor:
        gradient_penalty = (gradient_norms(gradients) - target).square() * (penalty / target**2)
        return (fake_scores - real_scores + gradient_penalty + drift * real_scores.square()).mean()

    def generator(fake_scores: Tensor) -> Tensor:
        return -fake_scores.mean()

    return Loss(critic, generator, gradients_at="mixed")


def non_saturating(
    *, r1: float, r1_interval: float = 1, path_length: float = 0, path_length_interval: float = 4
) -> Loss:
    """Logistic loss, with a generator loss whose gradient does not vanish (Goodfellow et al. 2014).

    Critic: E[ln(1 + e^-D(x)) + ln(1 + e^D(G(z))) + γ/2 ‖∇D(x)‖²]; generator: E[ln(1 + e^-D(G(z)))].
    γ is `r1` (Mescheder et al. 2018); with 0 there is no gradient penalty. It is lazy with an `r1_interval`
    above 1. `path_length` is the weight of the generator's path length regularisation, which always is.
    """
    if r1 < 0:
        raise ValueError("r1 must not be negative")
    if path_length < 0:
        raise ValueError("path_length must not be negative")
    for interval in (r1_interval, path_length_interval):
        if interval < 1 or interval != int(interval):
            raise ValueError("r1_interval and path_length_interval must be whole numbers from 1 on")
    lazy = r1 > 0 and r1_interval > 1

    def critic(real_scores: Tensor, fake_scores: Tensor, gradients: Tensor | None) -> Tensor:
        logistic = (_softplus(-real_scores) + _softplus(fake_scores)).mean()
        if gradients is None:
            return logistic
        return logistic + r1 / 2 * gradients.square().sum(dim=(1, 2, 3)).mean()

    def generator(fake_scores: Tensor) -> Tensor:
        return _softplus(-fake_scores).mean()

    return Loss(
        critic,
        generator,
        gradients_at="reals" if r1 and not lazy else None,
        lazy_penalty=LazyTerm(r1 / 2, int(r1_interval)) if lazy else None,
        path_length=LazyTerm(path_length, int(path_length_interval)) if path_length else None,
    )


def least_squares() -> Loss:
    """LSGAN: targets 0 for reals, 1 for fakes, and instance noise (paper, appendix; weights: authors' code).

    Critic: E[D(x)² + 0.1 (D(G(z)) - 1)²]; generator: E[D(G(z))²].
    """

    def critic(real_scores: Tensor, fake_scores: Tensor, gradients: None) -> Tensor:
        return (real_scores.square() + 0.1 * (fake_scores - 1).square()).mean()

    def generator(fake_scores: Tensor) -> Tensor:
        return fake_scores.square().mean()

    return Loss(critic, generator, instance_noise=True)


def hinge() -> Loss:
    """Hinge loss: scores beyond the margin have no gradient (Lim & Ye 2017).

    Critic: E[max(0, 1 - D(x)) + max(0, 1 + D(G(z)))]; generator: -E[D(G(z))].
    """

    def critic(real_scores: Tensor, fake_scores: Tensor, gradients: None) -> Tensor:
        return ((1 - real_scores).relu() + (1 + fake_scores).relu()).mean()

    def generator(fake_scores: Tensor) -> Tensor:
        return -fake_scores.mean()

    return Loss(critic, generator)


LOSSES: dict[str, Callable[..., Loss]] = {
    "wgan-gp": wgan_gp,
    "non-saturating": non_saturating,
    "least-squares": least_squares,
    "hinge": hinge,
}


def mix(reals: Tensor, fakes: Tensor, position: Tensor) -> Tensor:
    """Points between real and fake images: real + (fake - real) · u. position: u in [0, 1), [N]."""
    return reals.lerp(fakes, position.view(-1, 1, 1, 1))


def orthogonality(weights: Iterable[Tensor]) -> Tensor | float:
    """Σ ‖W Wᵀ ⊙ (1 - I)‖², 0-d: by how much the rows of each matrix depend on one another.

    The dimensions of a weight behind its first count as one (Brock et al. 2019, equation 3).
    """
    total: Tensor | float = 0.0
    for weight in weights:
        rows = weight.flatten(1)
        products = rows @ rows.t()
        total = total + products.square().sum() - products.diagonal().square().sum()
    return total


def gradient_norms(gradients: Tensor) -> Tensor:
    """The Euclidean norm of each image's gradient. [N, C, H, W] → [N]."""
    return gradients.square().sum(dim=(1, 2, 3)).sqrt()


def _softplus(x: Tensor) -> Tensor:
    """ln(1 + eˣ), for any x."""
    return x.logaddexp(x.new_zeros(()))
