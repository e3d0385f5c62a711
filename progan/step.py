"""One training iteration: its random draws, the losses of both networks, and the updates.

All functions work on tensors alone: alpha and the learning rate are 0-d tensors, shapes are static within a
phase, and nothing waits for the device. Labels are one-hot, float [N, label_size]; label_size may be 0.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from progan import losses
from progan.config import NetworkConfig, TrainingConfig
from progan.models import Models
from progan.networks import Discriminator, fade_reals, one_hot


class Draws(NamedTuple):
    """The randomness of one iteration for a minibatch of N."""

    critic_latents: Tensor  # float [N, latent_size]
    generator_latents: Tensor  # float [N, latent_size]
    mix: Tensor  # float [N], in [0, 1)
    mirror: Tensor  # bool [N]
    generator_labels: Tensor  # float [N, label_size], one-hot


def draw(seed: int, images_shown: int, minibatch: int, network: NetworkConfig, labels: Tensor) -> Draws:
    """The draws of the iteration that begins after `images_shown`: a pure function of its arguments.

    labels: int64 [images], of the whole training set; the draws are made on their device.
    """
    device = labels.device
    random = torch.Generator(device).manual_seed(stream_seed(seed, images_shown))
    return Draws(
        torch.randn(minibatch, network.latent_size, generator=random, device=device),
        torch.randn(minibatch, network.latent_size, generator=random, device=device),
        torch.rand(minibatch, generator=random, device=device),
        torch.rand(minibatch, generator=random, device=device) < 0.5,
        one_hot(
            labels[torch.randint(len(labels), (minibatch,), generator=random, device=device)],
            network.label_size,
        ),
    )


def stream_seed(*entropy: int) -> int:
    """The seed of an independent random stream, identified by `entropy` (such as seed and images shown)."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def prepare_reals(images: Tensor, mirror: Tensor | None, alpha: Tensor | None) -> Tensor:
    """uint8 [N, C, H, W] to float in [-1, 1], mirrored where `mirror` (bool [N]) is true, then faded."""
    reals = images / 127.5 - 1
    if mirror is not None:
        reals = torch.where(mirror.view(-1, 1, 1, 1), reals.flip(3), reals)
    return fade_reals(reals, alpha)


# ------------------------------------------------------------------------------------------------
# Losses


class Critique(NamedTuple):
    """What the discriminator minimises in an iteration, and statistics for the history."""

    loss: Tensor  # 0-d
    fake_outputs: Tensor  # float [N, 1 + label_size]; a joint update derives the generator's loss from them
    statistics: Tensor  # float [4]: means of loss, real score, fake score, gradient norm


def critique(
    discriminator: Discriminator,
    reals: Tensor,
    fakes: Tensor,
    labels: Tensor,
    position: Tensor,
    alpha: Tensor | None,
    training: TrainingConfig,
) -> Critique:
    """Critique reals and fakes, float [N, C, H, W] with the same `labels`; `position`: see `losses.mix`."""
    loss = training.adversarial
    gradients = None
    if loss.gradients_at == "mixed":
        mixed = losses.mix(reals, fakes.detach(), position).requires_grad_()
        gradients = score_gradients(discriminator(mixed, alpha), mixed)
    reals = reals.requires_grad_(loss.gradients_at == "reals")
    real_outputs = discriminator(reals, alpha)
    if loss.gradients_at == "reals":
        gradients = score_gradients(real_outputs, reals)
    fake_outputs = discriminator(fakes, alpha)
    real_scores, fake_scores = real_outputs[:, 0], fake_outputs[:, 0]
    value = loss.critic(real_scores, fake_scores, gradients)
    if labels.shape[1]:
        label_term = label_loss(real_outputs, labels) + label_loss(fake_outputs, labels)
        value = value + training.label_weight * label_term
    norm = real_scores.new_zeros(()) if gradients is None else losses.gradient_norms(gradients).mean()
    statistics = torch.stack([value, real_scores.mean(), fake_scores.mean(), norm]).detach()
    return Critique(value, fake_outputs, statistics)


def generator_loss(fake_outputs: Tensor, labels: Tensor, training: TrainingConfig) -> Tensor:
    """What the generator minimises, 0-d. fake_outputs: the discriminator's, float [N, 1 + label_size]."""
    value = training.adversarial.generator(fake_outputs[:, 0])
    if labels.shape[1]:
        value = value + training.label_weight * label_loss(fake_outputs, labels)
    return value


def label_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """AC-GAN's cross entropy of the class logits, `outputs[:, 1:]` (Odena et al. 2017), 0-d."""
    return F.cross_entropy(outputs[:, 1:], labels)


def score_gradients(outputs: Tensor, images: Tensor) -> Tensor:
    """The gradient of each image's score, itself differentiable: float [N, C, H, W]."""
    (gradients,) = torch.autograd.grad(outputs[:, 0].sum(), images, create_graph=True)
    return gradients


# ------------------------------------------------------------------------------------------------
# The updates


def critic_step(
    models: Models,
    images: Tensor,
    labels: Tensor,
    draws: Draws,
    alpha: Tensor | None,
    learning_rate: Tensor,
    training: TrainingConfig,
) -> None:
    """Update the discriminator once, and the averaged generator. images: uint8 [N, C, H, W]."""
    reals = prepare_reals(images, draws.mirror if training.mirror else None, alpha)
    with torch.no_grad():
        fakes = models.generator(torch.cat([draws.critic_latents, labels], 1), alpha)
    outcome = critique(models.discriminator, reals, fakes, labels, draws.mix, alpha, training)
    adam = models.discriminator_adam
    adam.step(adam.gradient(outcome.loss), learning_rate)
    _update_averages(models, outcome, training)


def generator_step(
    models: Models, draws: Draws, alpha: Tensor | None, learning_rate: Tensor, training: TrainingConfig
) -> None:
    """Update the generator once, with its own latents and labels."""
    fakes = models.generator(torch.cat([draws.generator_latents, draws.generator_labels], 1), alpha)
    loss = generator_loss(models.discriminator(fakes, alpha), draws.generator_labels, training)
    adam = models.generator_adam
    adam.step(adam.gradient(loss), learning_rate)
    models.sums[1] += models.ranks.mean_(loss.detach())


def joint_step(
    models: Models,
    images: Tensor,
    labels: Tensor,
    draws: Draws,
    alpha: Tensor | None,
    learning_rate: Tensor,
    training: TrainingConfig,
) -> None:
    """Update both networks once from the same fakes, each against the other's previous weights.

    This is the authors' setting for CIFAR-10. The averaged generator also follows the previous weights.
    images: uint8 [N, C, H, W].
    """
    reals = prepare_reals(images, draws.mirror if training.mirror else None, alpha)
    fakes = models.generator(torch.cat([draws.critic_latents, labels], 1), alpha)
    outcome = critique(models.discriminator, reals, fakes, labels, draws.mix, alpha, training)
    loss = generator_loss(outcome.fake_outputs, labels, training)
    generator_gradient = models.generator_adam.gradient(loss, retain_graph=True)
    critic_gradient = models.discriminator_adam.gradient(outcome.loss)
    _update_averages(models, outcome, training)
    models.discriminator_adam.step(critic_gradient, learning_rate)
    models.generator_adam.step(generator_gradient, learning_rate)
    models.sums[1] += models.ranks.mean_(loss.detach())


def _update_averages(models: Models, outcome: Critique, training: TrainingConfig) -> None:
    """Update the averaged generator, the noise and the sums for the history after a critique."""
    models.ema_values.lerp_(models.generator_adam.values, 1 - training.ema_decay)
    means = models.ranks.mean_(outcome.statistics)
    if models.noise:
        models.noise.follow(means[2])
    models.sums[0] += means[0]
    models.sums[2:] += means[1:]
