"""One training iteration: its random draws, the losses of both networks, and the updates.

All functions work on tensors alone: alpha and the learning rate are 0-d tensors, shapes are static within a
phase, and nothing waits for the device. Labels are one-hot, float [N, label_size]; label_size may be 0.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from progan import losses
from progan.augment import augment
from progan.config import TrainingConfig
from progan.models import Models
from progan.network_config import NetworkConfig
from progan.networks import fade_reals, one_hot
from progan.networks.layers import at_least_float32
from progan.networks.styles import StyleGenerator
from progan.operations import weights_held
from progan.randomness import Randomness

PATH_LENGTH_DECAY = 0.01  # how fast the mean path length follows that of a minibatch


class Draws(NamedTuple):
    """The randomness of one iteration for a minibatch of N."""

    critic_latents: Tensor  # float [N, latent_size]
    generator_latents: Tensor  # float [N, latent_size]
    mix: Tensor  # float [N], in [0, 1)
    mirror: Tensor  # bool [N]
    generator_labels: Tensor  # float [N, label_size], one-hot


class Minibatch(NamedTuple):
    """The inputs of one update of the discriminator."""

    images: Tensor  # real ones, uint8 [N, C, H, W]
    labels: Tensor  # theirs, float [N, label_size]
    draws: Draws
    alpha: Tensor | None  # 0-d; None once the fade is over

    @property
    def tensors(self) -> list[Tensor]:
        """All of them, in a fixed order."""
        return [self.images, self.labels, *self.draws, *([] if self.alpha is None else [self.alpha])]

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> "Minibatch":
        """The minibatch with these `tensors`."""
        images, labels, *rest = tensors
        draws, alpha = rest[: len(Draws._fields)], rest[len(Draws._fields) :]
        return cls(images, labels, Draws(*draws), alpha[0] if alpha else None)


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


def operands(x: Tensor, training: TrainingConfig) -> Tensor:
    """Images or latents in the precision in which the networks' layers compute with them."""
    return x.bfloat16() if training.precision == "bfloat16" else x


def seen(images: Tensor, training: TrainingConfig, randomness: Randomness) -> Tensor:
    """Images as the discriminator sees them: augmented, in the precision of its layers."""
    return operands(augment(images, training.augment, randomness), training)


# ------------------------------------------------------------------------------------------------
# Losses


class Critique(NamedTuple):
    """What the discriminator minimises in an iteration, and statistics for the history."""

    loss: Tensor  # 0-d
    fake_outputs: Tensor  # float [N, 1 + label_size]; a joint update derives the generator's loss from them
    statistics: Tensor  # float [4]: means of loss, real score, fake score, gradient norm


def critique(models: Models, minibatch: Minibatch, fakes: Tensor, training: TrainingConfig) -> Critique:
    """Critique the real images of a minibatch and `fakes`, float [N, C, H, W], of the same labels."""
    loss, discriminator, randomness = training.adversarial, models.discriminator, models.randomness
    reals, labels, alpha = _reals(minibatch, training), minibatch.labels, minibatch.alpha
    gradients = None
    if loss.gradients_at == "reals":
        reals.requires_grad_()
        real_outputs = discriminator(seen(reals, training, randomness), alpha)
        gradients = score_gradients(scores(real_outputs, labels, training), reals)
        fake_outputs = discriminator(seen(fakes, training, randomness), alpha)
    else:
        shown = augment(torch.cat([reals, fakes]), training.augment, randomness)
        if loss.gradients_at == "mixed":
            shown_reals, shown_fakes = shown.detach().chunk(2)
            mixed = losses.mix(shown_reals, shown_fakes, minibatch.draws.mix).requires_grad_()
            outputs = discriminator(operands(mixed, training), alpha)
            gradients = score_gradients(scores(outputs, labels, training), mixed)
        # reals and fakes together, as far as each image is alone: fewer and larger kernels
        features = discriminator.features(operands(shown, training), alpha)
        real_outputs, fake_outputs = map(discriminator.end, features.chunk(2))
    real_scores, fake_scores = (scores(outputs, labels, training) for outputs in (real_outputs, fake_outputs))
    value = loss.critic(real_scores, fake_scores, gradients)
    if classifies(labels, training):
        label_term = label_loss(real_outputs, labels) + label_loss(fake_outputs, labels)
        value = value + training.label_weight * label_term
    norm = real_scores.new_zeros(()) if gradients is None else losses.gradient_norms(gradients).mean()
    statistics = torch.stack([value, real_scores.mean(), fake_scores.mean(), norm]).detach()
    return Critique(value, fake_outputs, statistics)


def generator_loss(models: Models, fake_outputs: Tensor, labels: Tensor, training: TrainingConfig) -> Tensor:
    """What the generator minimises, 0-d. fake_outputs: the discriminator's, float [N, 1 + label_size]."""
    value = training.adversarial.generator(scores(fake_outputs, labels, training))
    if classifies(labels, training):
        value = value + training.label_weight * label_loss(fake_outputs, labels)
    if training.orthogonal_weight:
        value = value + training.orthogonal_weight * losses.orthogonality(models.generator.matrices())
    return value


def scores(outputs: Tensor, labels: Tensor, training: TrainingConfig) -> Tensor:
    """The scores of images as ones of their classes: float [N] of the outputs, float [N, 1 + label_size].

    A projection discriminator adds the output of the class (Miyato & Koyama 2018).
    """
    score = outputs[:, 0]
    return score + (outputs[:, 1:] * labels).sum(dim=1) if training.conditioning == "projection" else score


def classifies(labels: Tensor, training: TrainingConfig) -> bool:
    """Whether the discriminator also classifies images."""
    return labels.shape[1] > 0 and training.conditioning == "classification"


def label_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """AC-GAN's cross entropy of the class logits, `outputs[:, 1:]` (Odena et al. 2017), 0-d."""
    return F.cross_entropy(outputs[:, 1:], labels)


def score_gradients(scores: Tensor, images: Tensor) -> Tensor:
    """The gradient of each image's score, itself differentiable: float [N, C, H, W]."""
    with weights_held():
        (gradients,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradients


# ------------------------------------------------------------------------------------------------
# The updates


class Due(NamedTuple):
    """Which lazy terms an iteration updates."""

    penalty: bool = False
    path_length: bool = False

    @classmethod
    def at(cls, iteration: int, loss: losses.Loss) -> "Due":
        """Those of the iteration with this number, from 0 on."""
        terms = loss.lazy_penalty, loss.path_length
        return cls(*(term is not None and iteration % term.interval == 0 for term in terms))


def iteration(
    models: Models,
    minibatches: Sequence[Minibatch],
    learning_rate: Tensor,
    training: TrainingConfig,
    due: Due = Due(),
) -> None:
    """One update of the discriminator with each of `minibatches` and one of the generator, or a joint one."""
    if training.update == "joint":
        (minibatch,) = minibatches
        joint_step(models, minibatch, learning_rate, training)
        return
    for minibatch in minibatches:
        critic_step(models, minibatch, learning_rate, training)
    if due.penalty:
        penalty_step(models, minibatch, learning_rate, training)
    generator_step(models, minibatch, learning_rate, training)
    if due.path_length:
        path_length_step(models, minibatch, learning_rate, training)


def critic_step(
    models: Models, minibatch: Minibatch, learning_rate: Tensor, training: TrainingConfig
) -> None:
    """Update the discriminator once, and the averaged generator."""
    with torch.no_grad():
        fakes = _critic_fakes(models, minibatch, training)
    outcome = critique(models, minibatch, fakes, training)
    adam = models.discriminator_adam
    gradient, means = adam.gradient(outcome.loss, outcome.statistics)
    adam.step(gradient, learning_rate)
    _update_averages(models, means)


def penalty_step(
    models: Models, minibatch: Minibatch, learning_rate: Tensor, training: TrainingConfig
) -> None:
    """Update the discriminator once with its lazy gradient penalty at the real images."""
    term = training.adversarial.lazy_penalty
    assert term
    reals = _reals(minibatch, training).requires_grad_()
    outputs = models.discriminator(seen(reals, training, models.randomness), minibatch.alpha)
    gradients = score_gradients(scores(outputs, minibatch.labels, training), reals)
    penalty = term.weight * gradients.square().sum(dim=(1, 2, 3)).mean()
    norm = losses.gradient_norms(gradients).mean().detach()
    adam = models.discriminator_adam
    gradient, means = adam.gradient(term.interval * penalty, norm[None])
    adam.step(gradient, learning_rate)
    models.sums[4:] += term.interval * means


def path_length_step(
    models: Models, minibatch: Minibatch, learning_rate: Tensor, training: TrainingConfig
) -> None:
    """Update the generator once with its lazy path length regularisation (Karras et al. 2020, §3.2).

    The penalty takes the mean length a as it was before, so that it is the same on any number of ranks.
    """
    term, generator = training.adversarial.path_length, models.generator
    assert term
    assert isinstance(generator, StyleGenerator)
    styles = generator.styles(_own_latents(minibatch, training))
    images = generator.grow(styles, minibatch.alpha)
    noise = models.randomness.normal(*images.shape) / math.sqrt(images.shape[2] * images.shape[3])
    with weights_held():
        (gradients,) = torch.autograd.grad((images * noise).sum(), styles, create_graph=True)
    lengths = at_least_float32(gradients).square().sum(dim=2).mean(dim=1).sqrt()  # [N]
    penalty = term.weight * (lengths - models.path_length).square().mean()
    adam = models.generator_adam
    gradient, means = adam.gradient(term.interval * penalty, lengths.detach().mean()[None])
    adam.step(gradient, learning_rate)
    models.path_length.lerp_(means[0], PATH_LENGTH_DECAY)


def generator_step(
    models: Models, minibatch: Minibatch, learning_rate: Tensor, training: TrainingConfig
) -> None:
    """Update the generator once, with its own latents and labels."""
    adam, alpha = models.generator_adam, minibatch.alpha
    with _frozen(models.discriminator):
        fakes = models.generator(_own_latents(minibatch, training), alpha)
        outputs = models.discriminator(seen(fakes, training, models.randomness), alpha)
        loss = generator_loss(models, outputs, minibatch.draws.generator_labels, training)
        gradient, means = adam.gradient(loss, loss.detach()[None])
    adam.step(gradient, learning_rate)
    models.sums[1:2] += means


def joint_step(models: Models, minibatch: Minibatch, learning_rate: Tensor, training: TrainingConfig) -> None:
    """Update both networks once from the same fakes, each against the other's previous weights.

    This is the authors' setting for CIFAR-10. The averaged generator also follows the previous weights.
    """
    outcome = critique(models, minibatch, _critic_fakes(models, minibatch, training), training)
    loss = generator_loss(models, outcome.fake_outputs, minibatch.labels, training)
    generator_gradient, mean_loss = models.generator_adam.gradient(
        loss, loss.detach()[None], retain_graph=True
    )
    critic_gradient, means = models.discriminator_adam.gradient(outcome.loss, outcome.statistics)
    _update_averages(models, means)
    models.discriminator_adam.step(critic_gradient, learning_rate)
    models.generator_adam.step(generator_gradient, learning_rate)
    models.sums[1:2] += mean_loss


def _reals(minibatch: Minibatch, training: TrainingConfig) -> Tensor:
    """The real images, mirrored and faded: float [N, C, H, W]."""
    return prepare_reals(
        minibatch.images, minibatch.draws.mirror if training.mirror else None, minibatch.alpha
    )


def _critic_fakes(models: Models, minibatch: Minibatch, training: TrainingConfig) -> Tensor:
    """Generated images of the minibatch's labels: float [N, C, H, W]."""
    latents = torch.cat([minibatch.draws.critic_latents, minibatch.labels], 1)
    return models.generator(operands(latents, training), minibatch.alpha)


def _own_latents(minibatch: Minibatch, training: TrainingConfig) -> Tensor:
    """The input of the generator in updates of its own: [N, latent_size + label_size]."""
    draws = minibatch.draws
    return operands(torch.cat([draws.generator_latents, draws.generator_labels], 1), training)


def _update_averages(models: Models, means: Tensor) -> None:
    """Update the averaged generator, the noise and the sums after a critique with these mean statistics."""
    models.ema_values.lerp_(models.generator_adam.values, 1 - models.ema_decay)
    if models.noise:
        models.noise.follow(means[2])
    models.sums[0] += means[0]
    models.sums[2:] += means[1:]


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Without gradients of the parameters of `network`."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
