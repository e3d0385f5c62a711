"""Train one phase: the step, the state it changes, and the loop around it.

The step takes tensors and changes tensors; alpha and learning rate are 0-d tensors, shapes are static
within a phase, and nothing in it waits for the device. All randomness is a pure function of
(seed, images shown), so a phase that was interrupted ends in the same bits as one that was not.
"""

import dataclasses
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from progan import RESULTS_VERSION, __version__, losses
from progan.config import Config, NetworkConfig, PhaseConfig, TrainingConfig
from progan.errors import InputError, Interrupted
from progan.files import digest_of
from progan.networks import Discriminator, Generator, fade_reals
from progan.optimizer import Adam, flatten
from progan.phases import Schedule
from progan.snapshots import (
    Checkpoint,
    SnapshotFolder,
    load_grown,
    prefixed,
    stripped,
    write_checkpoint,
)

TICKS_PER_PHASE = 40  # rows of the history: losses and rates
MEASURES_PER_PHASE = 4  # SWD during training, besides the one at the start
SNAPSHOT_COST = 0.02  # the fraction of the time that writing snapshots may take …
SNAPSHOT_SECONDS = 10.0  # … but never more often than this
CALIBRATION_IMAGES = 500  # real images that minibatch discrimination starts from, as in the authors' code
STATISTICS = ("d_loss", "g_loss", "real_score", "fake_score", "gradient_norm")


def build_networks(network: NetworkConfig, resolution: int) -> tuple[Generator, Discriminator]:
    """Freshly drawn networks for a phase at `resolution`."""
    return Generator(network, resolution), Discriminator(network, resolution)


def share_buffers(ema: Generator, generator: Generator) -> None:
    """Let `ema` read the running statistics of `generator` itself: they are copied, not averaged again."""
    for average, own in zip(ema.modules(), generator.modules(), strict=True):
        for name, buffer in own.named_buffers(recurse=False):
            setattr(average, name, buffer)


# ------------------------------------------------------------------------------------------------
# The step


class Draws(NamedTuple):
    """The randomness of one iteration for a minibatch of N."""

    critic_latents: Tensor  # float [N, latent_size]
    generator_latents: Tensor  # float [N, latent_size]
    mix: Tensor  # float [N], in [0, 1)
    mirror: Tensor  # bool [N]


def draw(seed: int, images_shown: int, minibatch: int, latent_size: int, device: torch.device) -> Draws:
    """The draws of the iteration that begins after `images_shown`: a pure function of its arguments."""
    entropy = np.random.SeedSequence([seed, images_shown]).generate_state(1, np.uint64)[0]
    random = torch.Generator(device).manual_seed(int(entropy >> 1))
    return Draws(
        torch.randn(minibatch, latent_size, generator=random, device=device),
        torch.randn(minibatch, latent_size, generator=random, device=device),
        torch.rand(minibatch, generator=random, device=device),
        torch.rand(minibatch, generator=random, device=device) < 0.5,
    )


@dataclass
class Models:
    """The three networks of a phase, the two optimisers, and running sums for the history."""

    generator: Generator
    discriminator: Discriminator
    ema: Generator
    generator_adam: Adam
    discriminator_adam: Adam
    ema_values: Tensor
    sums: Tensor  # float [len(STATISTICS)]

    @classmethod
    def build(
        cls, config: Config, phase: PhaseConfig, init: Checkpoint | None, device: torch.device
    ) -> "Models":
        """Networks for `phase`: drawn from the seed, then whatever `init` has learnt already."""
        torch.manual_seed(config.training.seed + phase.resolution)
        generator, discriminator = build_networks(config.network, phase.resolution)
        if init is not None:
            load_grown(generator, init.networks("generator"), str(init.folder))
            load_grown(discriminator, init.networks("discriminator"), str(init.folder))
        ema, _ = build_networks(config.network, phase.resolution)
        ema.load_state_dict(generator.state_dict())
        if init is not None:
            load_grown(ema, init.networks("ema"), str(init.folder))
        for network in (generator, discriminator, ema):
            network.to(device)
        ema.requires_grad_(False).eval()
        share_buffers(ema, generator)
        betas, epsilon = config.training.adam_betas, config.training.adam_epsilon
        return cls(
            generator,
            discriminator,
            ema,
            Adam(generator, betas, epsilon),
            Adam(discriminator, betas, epsilon),
            flatten(ema),
            torch.zeros(len(STATISTICS), device=device),
        )

    def network_tensors(self) -> dict[str, Tensor]:
        """Generator, discriminator and average by name, on the CPU."""
        return (
            prefixed("generator", self.generator.state_dict())
            | prefixed("discriminator", self.discriminator.state_dict())
            | prefixed("ema", self.ema.state_dict())
        )

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """Both optimisers' state by name, on the CPU."""
        return prefixed("generator_adam", self.generator_adam.state_dict()) | prefixed(
            "discriminator_adam", self.discriminator_adam.state_dict()
        )

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `network_tensors` and `optimizer_tensors` gave."""
        self.generator.load_state_dict(stripped("generator", tensors))
        self.discriminator.load_state_dict(stripped("discriminator", tensors))
        self.ema.load_state_dict(stripped("ema", tensors))
        self.generator_adam.load_state_dict(stripped("generator_adam", tensors))
        self.discriminator_adam.load_state_dict(stripped("discriminator_adam", tensors))

    def reset_optimizers(self) -> None:
        self.generator_adam.reset()
        self.discriminator_adam.reset()


def prepare_reals(images: Tensor, mirror: Tensor | None, alpha: Tensor | None) -> Tensor:
    """uint8 [N, C, H, W] to float in [-1, 1], mirrored where `mirror` (bool [N]) says so, then faded."""
    reals = images.float() / 127.5 - 1
    if mirror is not None:
        reals = torch.where(mirror.view(-1, 1, 1, 1), reals.flip(3), reals)
    return fade_reals(reals, alpha)


def critic_loss(
    models: Models, reals: Tensor, draws: Draws, alpha: Tensor | None, training: TrainingConfig
) -> tuple[Tensor, Tensor]:
    """The discriminator's loss, 0-d, and [real score, fake score, gradient norm] (means)."""
    with torch.no_grad():
        fakes = models.generator(draws.critic_latents, alpha)
    mixed = losses.mix(reals, fakes, draws.mix).requires_grad_()
    mixed_scores = models.discriminator(mixed, alpha)[:, 0]
    (gradients,) = torch.autograd.grad(mixed_scores.sum(), mixed, create_graph=True)
    real_scores = models.discriminator(reals, alpha)[:, 0]
    fake_scores = models.discriminator(fakes, alpha)[:, 0]
    loss = losses.wgan_gp_critic(
        real_scores,
        fake_scores,
        gradients,
        penalty=training.wgan_lambda,
        target=training.wgan_target,
        drift=training.wgan_drift,
    )
    norms = losses.gradient_norms(gradients)
    return loss, torch.stack([real_scores.mean(), fake_scores.mean(), norms.mean()]).detach()


def critic_step(
    models: Models,
    images: Tensor,
    draws: Draws,
    alpha: Tensor | None,
    learning_rate: Tensor,
    training: TrainingConfig,
) -> None:
    """One update of the discriminator, and of the average with it. images: uint8 [N, C, H, W]."""
    reals = prepare_reals(images, draws.mirror if training.mirror else None, alpha)
    loss, scores = critic_loss(models, reals, draws, alpha, training)
    adam = models.discriminator_adam
    adam.step(adam.gradient(loss), learning_rate)
    models.ema_values.lerp_(models.generator_adam.values, 1 - training.ema_decay)
    models.sums[0] += loss.detach()
    models.sums[2:] += scores


def generator_step(models: Models, latents: Tensor, alpha: Tensor | None, learning_rate: Tensor) -> None:
    """One update of the generator. latents: float [N, latent_size]."""
    scores = models.discriminator(models.generator(latents, alpha), alpha)[:, 0]
    loss = losses.wgan_generator(scores)
    adam = models.generator_adam
    adam.step(adam.gradient(loss), learning_rate)
    models.sums[1] += loss.detach()


# ------------------------------------------------------------------------------------------------
# The data


class RealImages:
    """A phase's images in resident memory, served in a seeded permutation for each epoch."""

    def __init__(self, images: np.ndarray, seed: int, device: torch.device) -> None:
        self.images = _resident(torch.from_numpy(images), device)  # uint8 [N, C, H, W]
        self.seed, self.device = seed, device
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.images)

    def indices(self, position: int, count: int) -> Tensor:
        """Which images the positions [position, position + count) show: int64 [count]."""
        positions = np.arange(position, position + count)
        return torch.from_numpy(np.array([self._index(*divmod(int(p), len(self))) for p in positions]))

    def at(self, position: int, count: int) -> Tensor:
        """The images at those positions on the training device: uint8 [count, C, H, W]."""
        images = self.images[self.indices(position, count).to(self.images.device, non_blocking=True)]
        if images.device == self.device:
            return images
        return images.pin_memory().to(self.device, non_blocking=True)

    def _index(self, epoch: int, place: int) -> int:
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self))
        return int(self._order[place])


def _resident(images: Tensor, device: torch.device) -> Tensor:
    """On the GPU when they take less than half of its free memory, else where they are."""
    if device.type == "cuda" and images.nbytes < torch.cuda.mem_get_info(device)[0] // 2:
        return images.to(device)
    return images


# ------------------------------------------------------------------------------------------------
# The loop


@dataclass(frozen=True)
class Hooks:
    """What the loop calls back: nothing here can change the result."""

    progress: Callable[[int, int], None]  # images shown, images in the phase
    measure: Callable[[Generator, Tensor | None], float]  # the average and alpha → SWD
    stop_requested: Callable[[], bool]


def fingerprint(config: Config, phase: PhaseConfig, data_digest: str, init: Checkpoint | None) -> str:
    """The hash of all that decides what `phase` becomes."""
    decides = dataclasses.asdict(phase)
    del decides["init"]  # the digest of what it points to counts instead
    return digest_of(
        {
            "results_version": RESULTS_VERSION,
            "network": dataclasses.asdict(config.network),
            "training": dataclasses.asdict(config.training),
            "phase": decides,
            "data": data_digest,
            "init": None if init is None else init.digest,
        }
    )


class PhaseTrainer:
    """A phase under way: its models, its place in the schedule, its history."""

    def __init__(
        self,
        config: Config,
        phase: PhaseConfig,
        images: np.ndarray,
        data_digest: str,
        init: Checkpoint | None,
        device: torch.device,
    ) -> None:
        if init is not None and init.facts["resolution"] * 2 != phase.resolution:
            raise InputError(
                f"{init.folder}: holds {init.facts['phase']}, which {phase.key} cannot start from"
            )
        if phase.minibatch > len(images):
            raise InputError(
                f"phases.{phase.key}.minibatch: {phase.minibatch} is more than the {len(images)} images"
            )
        self.config, self.phase, self.device = config, phase, device
        self.schedule = Schedule(phase)
        self.fingerprint = fingerprint(config, phase, data_digest, init)
        self.start_images = 0 if init is None else init.facts["images_shown"]
        self.models = Models.build(config, phase, init, device)
        self.reals = RealImages(images, config.training.seed, device)
        self.images_shown = 0  # within the phase
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.learning_rate = torch.tensor(phase.learning_rate, device=device)
        if init is None and config.network.minibatch_discrimination:
            some = self.reals.at(0, min(CALIBRATION_IMAGES, len(self.reals)))
            self.models.discriminator.calibrate(prepare_reals(some, None, None))

    def train(self, snapshots: SnapshotFolder, hooks: Hooks) -> None:
        """Go on from the newest snapshot to the end of the phase. Raises Interrupted when asked to stop."""
        self._resume(snapshots)
        clock = SnapshotClock()
        started = time.monotonic() - self.seconds
        if not self.history:
            self._tick(hooks, 0.0)
        hooks.progress(self.images_shown, self.schedule.total_images)
        while not self._finished():
            if hooks.stop_requested():
                self._snapshot(snapshots)
                raise Interrupted(f"{self.phase.key}: stopped at {self.images_shown} images, state saved")
            self.iterate()
            hooks.progress(self.images_shown, self.schedule.total_images)
            if self._tick_due():
                self.seconds = time.monotonic() - started
                self._tick(hooks, self.seconds)
            if clock.due():
                self.seconds = time.monotonic() - started
                clock.time(lambda: self._snapshot(snapshots))
        self._snapshot(snapshots)

    def iterate(self) -> None:
        """One iteration: `critic_steps` updates of the discriminator, one of the generator."""
        training, phase = self.config.training, self.phase
        for _ in range(training.critic_steps):
            alpha = self._alpha()
            position = self.start_images + self.images_shown
            draws = draw(
                training.seed, position, phase.minibatch, self.config.network.latent_size, self.device
            )
            images = self.reals.at(position, phase.minibatch)
            critic_step(self.models, images, draws, alpha, self.learning_rate, training)
            was_stable = self.schedule.is_stable(self.images_shown)
            self.images_shown += phase.minibatch
        generator_step(self.models, draws.generator_latents, alpha, self.learning_rate)
        if not was_stable and self.schedule.is_stable(self.images_shown):
            self.models.reset_optimizers()

    def write_checkpoint(self, folder: Path, dataset: dict[str, Any]) -> None:
        """Hand on the finished phase."""
        images_shown = self.start_images + self.images_shown
        facts = {
            "format": 1,
            "phase": self.phase.key,
            "resolution": self.phase.resolution,
            "images_shown": images_shown,
            "kimg": images_shown / 1000,
            "fingerprint": self.fingerprint,
            "network": dataclasses.asdict(self.config.network),
            "training": dataclasses.asdict(self.config.training),
            "schedule": dataclasses.asdict(self.phase),
            "dataset": dataset,
            "versions": {
                "progan": __version__,
                "results": RESULTS_VERSION,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }
        write_checkpoint(folder, self.models.network_tensors(), self.models.optimizer_tensors(), facts)

    def _alpha(self) -> Tensor | None:
        if self.schedule.is_stable(self.images_shown):
            return None
        return torch.full((), self.schedule.alpha(self.images_shown), device=self.device)

    def _tick(self, hooks: Hooks, seconds: float) -> None:
        """Add a row to the history: the means since the last one, and at times the SWD."""
        before: dict[str, Any] = self.history[-1] if self.history else {"images": 0, "seconds": 0.0}
        shown, elapsed = self.images_shown - before["images"], seconds - before["seconds"]
        means = (self.models.sums / self._updates(shown)).tolist() if shown else [None] * len(STATISTICS)
        self.models.sums.zero_()
        row = {
            "kimg": (self.start_images + self.images_shown) / 1000,
            "images": self.images_shown,
            "alpha": self.schedule.alpha(self.images_shown),
            "learning_rate": self.phase.learning_rate,
            "minibatch": self.phase.minibatch,
            **dict(zip(STATISTICS, means, strict=True)),
            "skipped": int(self.models.generator_adam.skipped + self.models.discriminator_adam.skipped),
            "seconds": seconds,
            "images_per_second": shown / elapsed if elapsed else None,
            "swd": hooks.measure(self.models.ema, self._alpha()) if self._measure_due() else None,
        }
        self.history.append(row)

    def _updates(self, shown: int) -> Tensor:
        """How many updates each of STATISTICS has been summed over: float [len(STATISTICS)]."""
        critic = shown / self.phase.minibatch
        generator = critic / self.config.training.critic_steps
        updates = [generator if name == "g_loss" else critic for name in STATISTICS]
        return torch.tensor(updates, device=self.device)

    def _tick_due(self) -> bool:
        tick = self.schedule.total_images / TICKS_PER_PHASE
        return self._finished() or self.images_shown - self.history[-1]["images"] >= tick

    def _measure_due(self) -> bool:
        return self._finished() or len(self.history) % (TICKS_PER_PHASE // MEASURES_PER_PHASE) == 0

    def _finished(self) -> bool:
        return self.images_shown >= self.schedule.total_images

    def _snapshot(self, snapshots: SnapshotFolder) -> None:
        tensors = (
            self.models.network_tensors() | self.models.optimizer_tensors() | {"sums": self.models.sums.cpu()}
        )
        facts = {"images_shown": self.images_shown, "history": self.history, "seconds": self.seconds}
        snapshots.write(self.images_shown, tensors, facts)

    def _resume(self, snapshots: SnapshotFolder) -> None:
        found = snapshots.read()
        if found is None:
            return
        tensors, facts = found
        self.models.load(tensors)
        self.models.sums.copy_(tensors["sums"])
        self.images_shown, self.history, self.seconds = (
            facts["images_shown"],
            facts["history"],
            facts["seconds"],
        )


class SnapshotClock:
    """Says when a snapshot is due, so that writing them takes a small, fixed part of the time."""

    def __init__(self) -> None:
        self._last, self._interval = time.monotonic(), SNAPSHOT_SECONDS

    def due(self) -> bool:
        return time.monotonic() - self._last >= self._interval

    def time(self, write: Callable[[], None]) -> None:
        """Call `write` and set the interval by how long it took."""
        started = time.monotonic()
        write()
        self._last = time.monotonic()
        self._interval = max(SNAPSHOT_SECONDS, (self._last - started) / SNAPSHOT_COST)
