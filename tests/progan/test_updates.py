"""Whole iterations in float64 against plain loops: backward() and torch's Adam, without flat vectors."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from progan import step
from progan.augment import augment
from progan.config import PhaseConfig
from progan.networks import build_networks
from progan.randomness import Randomness
from progan.training import RANDOMNESS, PhaseTrainer
from tests import architectures
from tests.progan.settings import changed

CPU = torch.device("cpu")
FADING = PhaseConfig(8, "checkpoints/r0004", 0.056, 0.064, 8, 0.001)  # the fade ends after 7 iterations
CLASSES = 3

PARAMETERS = {
    "wgan-gp": {"penalty": 10.0, "target": 2.0, "drift": 0.001},
    "non-saturating": {"r1": 2.0},
    "least-squares": {},
    "hinge": {},
}


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def trainer(small_config, noise):
    """A function that returns a trainer on noise with made-up labels."""

    def make(loss, label_size=0, network=None, **changes):
        changes = {"loss_parameters": PARAMETERS[loss]} | changes
        config, phase = changed(small_config, FADING, label_size, network, loss=loss, **changes)
        labels = np.random.default_rng(0).integers(CLASSES, size=len(noise)) if label_size else None
        return PhaseTrainer(config, phase, noise, "data", None, CPU, labels)

    return make


class PlainTrainer:
    """The same iterations, written out for one loss."""

    def __init__(self, trainer):
        self.config, self.training = trainer.config, trainer.config.training
        networks = [*build_networks(self.config.network, 8), build_networks(self.config.network, 8)[0]]
        models = trainer.models
        for own, other in zip(networks, (models.generator, models.discriminator, models.ema), strict=True):
            own.load_state_dict(other.state_dict())
        self.g, self.d, self.ema = networks
        self.randomness = self.g.randomness = Randomness(CPU)
        self.sums = np.zeros(5)  # of losses, scores and gradient norm
        self.path_length = 0.0
        self.reset()

    def reset(self):
        parameters = self.training.loss_parameters
        self.path_interval = 4 if parameters.get("path_length") else None
        self.penalty_interval = parameters.get("r1_interval")
        self.g_adam = self.adam(self.g, self.path_interval)
        self.d_adam = self.adam(self.d, self.penalty_interval, self.training.discriminator_rate)

    def adam(self, network, interval, rate=1.0):
        c = interval / (interval + 1) if interval else 1
        betas = [beta**c for beta in self.training.adam_betas]
        return torch.optim.Adam(network.parameters(), FADING.learning_rate * c * rate, betas, 1e-8)

    def iterate(self, images, labels, draws, alpha, seed, number):
        self.randomness.seed(seed)
        self.number = number
        x, a = self.shown(images, draws, alpha), torch.tensor(alpha)
        if self.training.update == "joint":
            self.joint(x, labels, draws, a)
        else:
            self.alternate(x, labels, draws, a)

    def shown(self, images, draws, alpha):
        x = images.double() / 255 * 2 - 1
        x = torch.stack([image.flip(2) if m else image for image, m in zip(x, draws.mirror, strict=True)])
        half = x.view(len(x), 3, 4, 2, 4, 2).mean(dim=(3, 5))
        return alpha * x + (1 - alpha) * half.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def alternate(self, x, labels, draws, a):
        fake = self.g(self.inputs(draws.critic_latents, labels), a).detach()
        self.d_adam.zero_grad()
        self.critic_loss(x, fake, labels, draws.mix, a).backward()
        self.d_adam.step()
        self.average()
        if self.penalty_interval and self.number % self.penalty_interval == 0:
            self.d_adam.zero_grad(set_to_none=False)  # the last bias, which has none, keeps its moments going
            self.lazy_penalty(x, labels, a).backward()
            self.d_adam.step()
        own = draws.generator_labels.argmax(1) if self.config.network.label_size else None
        self.g_adam.zero_grad()
        self.generator_loss(self.g(self.inputs(draws.generator_latents, own), a), own, a).backward()
        self.g_adam.step()
        if self.path_interval and self.number % 4 == 0:
            self.g_adam.zero_grad(set_to_none=False)
            self.path_length_penalty(self.inputs(draws.generator_latents, own), a).backward()
            self.g_adam.step()

    def lazy_penalty(self, x, labels, a):
        x = x.clone().requires_grad_()
        score = self.score(self.d(self.augmented(x), a), labels)
        (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
        norm = gradient.flatten(1).norm(dim=1)
        self.sums[4] += self.penalty_interval * norm.mean().item()
        return self.penalty_interval * self.training.loss_parameters["r1"] / 2 * (norm**2).mean()

    def path_length_penalty(self, inputs, a):
        styles = self.g.styles(inputs)
        images = self.g.grow(styles, a)
        y = self.randomness.normal(*images.shape)
        gradients = torch.autograd.grad((images * y / 8).sum(), styles, create_graph=True)[0]
        lengths = gradients.square().sum(2).mean(1).sqrt()
        penalty = (
            4 * self.training.loss_parameters["path_length"] * ((lengths - self.path_length) ** 2).mean()
        )
        self.path_length = 0.99 * self.path_length + 0.01 * lengths.mean().item()
        return penalty

    def joint(self, x, labels, draws, a):
        inputs = self.inputs(draws.critic_latents, labels)
        self.average()
        for network in (self.g, self.d):
            network.zero_grad()
        self.generator_loss(self.g(inputs, a), labels, a).backward()
        of_generator = [parameter.grad.clone() for parameter in self.g.parameters()]
        for network in (self.g, self.d):
            network.zero_grad()
        self.critic_loss(x, self.g(inputs, a).detach(), labels, draws.mix, a).backward()
        for parameter, gradient in zip(self.g.parameters(), of_generator, strict=True):
            parameter.grad = gradient
        self.g_adam.step()
        self.d_adam.step()

    def inputs(self, latents, labels):
        if labels is None:
            return latents
        return torch.cat([latents, F.one_hot(labels, CLASSES).double()], dim=1)

    def critic_loss(self, x, fake, labels, u, a):
        loss, parameters = self.training.loss, self.training.loss_parameters
        penalised = loss == "non-saturating" and not self.penalty_interval
        if penalised:
            x = x.clone().requires_grad_()
        if penalised:
            shown, unreal_shown = self.augmented(x), self.augmented(fake)
        else:
            shown, unreal_shown = self.augmented(torch.cat([x, fake])).chunk(2)
        if loss == "wgan-gp":
            u = u.view(-1, 1, 1, 1)
            mixed = ((1 - u) * shown + u * unreal_shown).detach().requires_grad_()
            mixed_score = self.score(self.d(mixed, a), labels)
        real_outputs, fake_outputs = self.d(shown, a), self.d(unreal_shown, a)
        real, unreal = self.score(real_outputs, labels), self.score(fake_outputs, labels)
        norm = torch.zeros(len(x))
        if loss == "wgan-gp":
            (gradient,) = torch.autograd.grad(mixed_score.sum(), mixed, create_graph=True)
            norm = gradient.flatten(1).norm(dim=1)
            penalty = 10 * ((norm / 2 - 1) ** 2).mean()
            value = unreal.mean() - real.mean() + penalty + 0.001 * (real**2).mean()
        elif loss == "non-saturating":
            value = F.softplus(-real).mean() + F.softplus(unreal).mean()
            if penalised:
                (gradient,) = torch.autograd.grad(real.sum(), x, create_graph=True)
                norm = gradient.flatten(1).norm(dim=1)
                value = value + parameters["r1"] / 2 * (norm**2).mean()
        elif loss == "least-squares":
            value = (real**2).mean() + 0.1 * ((unreal - 1) ** 2).mean()
        else:
            value = F.relu(1 - real).mean() + F.relu(1 + unreal).mean()
        if labels is not None and self.training.conditioning == "classification":
            entropy = F.cross_entropy(real_outputs[:, 1:], labels) + F.cross_entropy(
                fake_outputs[:, 1:], labels
            )
            value = value + self.training.label_weight * entropy
        statistics = [value, torch.zeros(()), real.mean(), unreal.mean(), norm.mean()]
        self.sums += [statistic.item() for statistic in statistics]
        return value

    def generator_loss(self, fake, labels, a):
        outputs = self.d(self.augmented(fake), a)
        score = self.score(outputs, labels)
        value = {
            "wgan-gp": -score.mean(),
            "non-saturating": F.softplus(-score).mean(),
            "least-squares": (score**2).mean(),
            "hinge": -score.mean(),
        }[self.training.loss]
        if labels is not None and self.training.conditioning == "classification":
            value = value + self.training.label_weight * F.cross_entropy(outputs[:, 1:], labels)
        for weight in self.g.parameters() if self.training.orthogonal_weight else ():
            if weight.dim() > 1:
                gram = torch.einsum("if,jf->ij", weight.flatten(1), weight.flatten(1))
                others = 1 - torch.eye(len(weight))
                value = value + self.training.orthogonal_weight * (gram * others).pow(2).sum()
        self.sums[1] += value.item()
        return value

    def augmented(self, x):
        return augment(x, self.training.augment, self.randomness)

    def score(self, outputs, labels):
        score = outputs[:, 0]
        if labels is None or self.training.conditioning == "classification":
            return score
        return score + outputs[torch.arange(len(labels)), 1 + labels]

    @torch.no_grad()
    def average(self):
        kimg = self.training.ema_kimg
        decay = self.training.ema_decay if kimg is None else math.exp(math.log(0.5) * 0.008 / kimg)
        for average, value in zip(self.ema.parameters(), self.g.parameters(), strict=True):
            average.copy_(decay * average + (1 - decay) * value)


@pytest.mark.parametrize("update", ["alternating", "joint"])
@pytest.mark.parametrize(("loss", "label_size"), [("wgan-gp", 0), *((loss, CLASSES) for loss in PARAMETERS)])
def test_iterations_equal_the_plain_loop(trainer, loss, update, label_size):
    assert_equals_the_plain_loop(trainer(loss, label_size, update=update, seed=1, label_weight=0.5))


ALL = ("color", "translation", "cutout")


@pytest.mark.parametrize(
    ("loss", "changes"),
    [
        ("wgan-gp", {"augment": ALL}),
        ("non-saturating", {"augment": ALL, "ema_decay": None, "ema_kimg": 0.02}),
        ("hinge", {"augment": ALL, "conditioning": "projection"}),
        ("non-saturating", {"conditioning": "projection"}),
        ("wgan-gp", {"conditioning": "projection", "update": "joint"}),
        ("hinge", {"discriminator_rate": 4.0, "orthogonal_weight": 0.01}),
    ],
)
def test_what_losses_share_against_the_plain_loop(trainer, loss, changes):
    assert_equals_the_plain_loop(trainer(loss, CLASSES, seed=1, **changes))


def test_stylegan(trainer):
    """With its noise and mixing; at first the maps are constant, and gradients of their biases rounding."""
    ours = trainer("non-saturating", CLASSES, architectures.SMALL["stylegan"], seed=1)
    with torch.no_grad():
        for parameter in ours.models.generator.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    assert_equals_the_plain_loop(ours)


@pytest.mark.parametrize("path_length", [0.0, 2.0])
def test_stylegan2_with_lazy_terms(trainer, path_length):
    network = architectures.SMALL["stylegan2"]
    lazy = {"r1": 2.0, "r1_interval": 3, "path_length": path_length}
    ours = trainer("non-saturating", CLASSES, network, seed=1, loss_parameters=lazy)
    plain = assert_equals_the_plain_loop(ours)
    if path_length:
        assert ours.models.path_length.item() == pytest.approx(plain.path_length)
        assert plain.path_length > 0


def assert_equals_the_plain_loop(ours):
    """Through the fade, the reset of the optimisers at its end, and beyond; to 1e-7 after ten iterations."""
    label_size = ours.config.network.label_size
    plain = PlainTrainer(ours)
    for iteration in range(10):
        shown = 8 * iteration
        if shown == 56 and ours.phase is FADING:
            plain.reset()
        draws = step.draw(1, shown, 8, ours.config.network, ours.reals.labels)
        images, labels = ours.reals.at(shown, 8)
        seed = step.stream_seed(1, shown, RANDOMNESS)
        alpha = min(shown / 56, 1.0) if ours.phase is FADING else 1.0
        plain.iterate(images, labels if label_size else None, draws, alpha, seed, iteration)
        ours.iterate()
    models = ours.models
    for mine, theirs in (
        (models.generator, plain.g),
        (models.discriminator, plain.d),
        (models.ema, plain.ema),
    ):
        torch.testing.assert_close(dict(mine.state_dict()), dict(theirs.state_dict()), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(models.sums, plain.sums, rtol=1e-7)
    return plain


def vector(network: nn.Module):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()


def test_a_joint_update_with_noise_lets_both_networks_learn_from_one_noisy_pass(trainer):
    """Its gradients equal those of a pass with the same draws of noise."""
    ours = trainer("least-squares", update="joint")
    noise, models = ours.models.noise, ours.models
    noise.score.fill_(1.0)
    draws = step.draw(1000, 0, 8, ours.config.network, ours.reals.labels)
    models.randomness.seed(step.stream_seed(1000, 0, 1))
    images, _ = ours.reals.at(0, 8)
    alpha = torch.zeros(())
    reals = step.prepare_reals(images, draws.mirror, alpha)
    both = torch.cat([reals, models.generator(draws.critic_latents, alpha)])
    features = models.discriminator.features(both, alpha).chunk(2)
    real, fake = (models.discriminator.end(part)[:, 0] for part in features)
    silent = models.discriminator(models.generator(draws.critic_latents, alpha), alpha)[:, 0]
    of_critic = torch.autograd.grad(
        (real**2).mean() + 0.1 * ((fake - 1) ** 2).mean(),
        [*models.discriminator.parameters()],
        retain_graph=True,
        materialize_grads=True,
        allow_unused=True,
    )
    of_generator = torch.autograd.grad(
        (fake**2).mean(), [*models.generator.parameters()], materialize_grads=True, allow_unused=True
    )
    before = vector(models.generator), vector(models.discriminator)
    ours.iterate()
    assert not torch.allclose(fake, silent)
    rate, epsilon = FADING.learning_rate, 1e-8
    for old, network, gradients in zip(
        before, (models.generator, models.discriminator), (of_generator, of_critic), strict=True
    ):
        gradient = torch.cat([part.flatten() for part in gradients])
        first_adam_step = rate * gradient / (gradient.abs() + epsilon)
        torch.testing.assert_close(vector(network), old - first_adam_step, rtol=1e-7, atol=1e-9)
