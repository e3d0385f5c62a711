"""Train one phase: its data, and the loop around the step.

All randomness is a pure function of (seed, images shown), so a phase that was interrupted ends in the same
bits as one that was not.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from progan.arithmetic import arithmetic
from progan.checkpoints import (
    Checkpoint,
    CheckpointFacts,
    DatasetFacts,
    Versions,
    stripped,
    write_checkpoint,
)
from progan.config import Config, PhaseConfig
from progan.device import cpu_threads
from progan.distributed import Ranks, check_continued, check_shares
from progan.errors import InputError, Interrupted
from progan.executor import Executor
from progan.health import problems
from progan.history import Readings, Row
from progan.models import STATISTICS, Models
from progan.networks import Generator, one_hot
from progan.phases import Schedule
from progan.sampling import SETTLING_LATENTS, settled
from progan.snapshots import Snapshot, SnapshotFolder, SnapshotWriter
from progan.step import Draws, Due, Minibatch, draw, prepare_reals, stream_seed

TICKS_PER_PHASE = 40  # rows of the history: losses and rates
MEASURES_PER_PHASE = 4  # SWD during training, besides the one at the start
CALIBRATION_IMAGES = 500  # real images that initialise minibatch discrimination, as in the authors' code
RANDOMNESS = 1  # distinguishes the stream that the networks draw from, from that of the draws


# ------------------------------------------------------------------------------------------------
# The data


class RealImages:
    """A phase's images and labels in resident memory, served in a seeded permutation for each epoch."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int, device: torch.device) -> None:
        self.images = _resident(torch.from_numpy(images), device)  # uint8 [N, C, H, W]
        self.labels = torch.from_numpy(labels).to(device)  # int64 [N]
        self.seed, self.device = seed, device
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.images)

    def indices(self, position: int, count: int) -> Tensor:
        """The indices of the images at the positions [position, position + count): int64 [count]."""
        pieces, end = [], position + count
        while position < end:
            epoch, start = divmod(position, len(self))
            pieces.append(self._permutation(epoch)[start : start + end - position])
            position += len(pieces[-1])
        return torch.from_numpy(np.concatenate(pieces))

    def at(self, position: int, count: int, ranks: Ranks = Ranks()) -> tuple[Tensor, Tensor]:
        """This rank's share of those images and their labels: uint8 [n, C, H, W], int64 [n]."""
        indices = ranks.share(self.indices(position, count))
        images = self.images[indices.to(self.images.device, non_blocking=True)]
        if images.device.type != self.device.type:
            images = images.pin_memory().to(self.device, non_blocking=True)
        return images, self.labels[indices.to(self.device, non_blocking=True)]

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self))
        return self._order


def _resident(images: Tensor, device: torch.device) -> Tensor:
    """Move `images` to the GPU if they need less than half of its free memory; else leave them."""
    if device.type == "cuda" and images.nbytes < torch.cuda.mem_get_info(device)[0] // 2:
        return images.to(device)
    return images


class Feed:
    """Hands out the inputs of iterations; on a GPU it makes the next ones while the present ones are used."""

    def __init__(self, make: Callable[[int], list[Minibatch]], device: torch.device) -> None:
        self.make = make
        self.ready: tuple[int, list[Minibatch]] | None = None
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if self.stream:
            self.stream.wait_stream(torch.cuda.current_stream(device))  # for the images and labels

    def prepare(self, images_shown: int) -> None:
        """Begin to make the inputs of the iteration that begins after `images_shown`."""
        if self.stream:
            with torch.cuda.stream(self.stream):
                self.ready = images_shown, self.make(images_shown)

    def take(self, images_shown: int) -> list[Minibatch]:
        """The inputs of the iteration that begins after `images_shown`."""
        if not self.stream:
            return self.make(images_shown)
        if self.ready is None or self.ready[0] != images_shown:
            self.prepare(images_shown)
        assert self.ready
        (_, minibatches), self.ready = self.ready, None
        current = torch.cuda.current_stream(self.stream.device)
        current.wait_stream(self.stream)
        for minibatch in minibatches:
            for tensor in minibatch.tensors:
                tensor.record_stream(current)
        return minibatches


# ------------------------------------------------------------------------------------------------
# The loop


@dataclass(frozen=True)
class Hooks:
    """The callbacks of the training loop; none of them can change the result."""

    progress: Callable[[int, int], None]  # images shown, images in the phase
    measure: Callable[[Generator, Tensor | None], float]  # averaged generator, alpha → SWD
    stop_requested: Callable[[], bool]
    picture: Callable[[Generator, Tensor | None], bytes | None] = lambda generator, alpha: None  # → a PNG
    machine: Callable[[], Readings] = Readings
    notice: Callable[[str], None] = lambda line: None  # what a person should know
    live: Callable[["PhaseTrainer"], None] = lambda trainer: None  # after each iteration


class PhaseTrainer:
    """A phase in training: its models, its position in the schedule, its history.

    images: uint8 [N, C, R, R]. labels: int64 [N], 0 … label_size - 1; None if label_size is 0.
    identity: that of the task, for the checkpoint.
    """

    def __init__(
        self,
        config: Config,
        phase: PhaseConfig,
        images: np.ndarray,
        identity: str,
        init: Checkpoint | None,
        device: torch.device,
        labels: np.ndarray | None = None,
        ranks: Ranks = Ranks(),
    ) -> None:
        if init is not None and init.facts.resolution * 2 != phase.resolution:
            raise InputError(
                f"{init.folder}: holds {init.facts.phase}, which {phase.key} cannot start from; run dvc repro"
            )
        for each in config.phases.values():  # also those that would fail after hours of training
            if each.minibatch > len(images):
                raise InputError(
                    f"phases.{each.key}.minibatch: {each.minibatch} is more than the {len(images)} images; "
                    "lower it, or add images"
                )
        check_shares(config, phase, ranks.size)
        self.config, self.phase, self.device, self.ranks = config, phase, device, ranks
        self.schedule = Schedule(phase)
        self.identity, self.init = identity, init
        self.start_images = 0 if init is None else init.facts.images_shown
        self.models = Models.build(config, phase, init, device, ranks)
        self.reals = RealImages(
            images,
            np.zeros(len(images), np.int64) if labels is None else labels,
            config.training.seed,
            device,
        )
        self.images_shown = 0  # within the phase
        self.history: list[Row] = []
        self.pictures: dict[str, bytes] = {}  # PNGs by kimg, such as "00004.008", for the rows with an SWD
        self.seconds = 0.0  # of training, without the time between an interruption and the restart
        self.learning_rate = torch.tensor(phase.learning_rate, device=device)
        self.feed = Feed(self._minibatches, device)
        self.executor = Executor(self.models, self.learning_rate, config.training)
        if init is None:
            first_images, _ = self.reals.at(0, min(CALIBRATION_IMAGES, len(self.reals)))
            self.models.discriminator.calibrate(prepare_reals(first_images, None, None))

    def train(self, snapshots: SnapshotFolder, hooks: Hooks) -> None:
        """Train from the newest snapshot to the end of the phase. Raises Interrupted if asked to stop."""
        with arithmetic(self.config.training.precision):
            self._resume(snapshots, hooks)
            self._loop(snapshots, hooks)

    def _loop(self, snapshots: SnapshotFolder, hooks: Hooks) -> None:
        started = time.monotonic() - self.seconds
        if not self.history:
            self._tick(hooks)
        hooks.progress(self.images_shown, self.schedule.total_images)
        hooks.live(self)
        self.executor.notice = hooks.notice
        with SnapshotWriter(snapshots) as writer:
            while not self.finished:
                if self.ranks.any(hooks.stop_requested()):
                    saved = "state saved" if self._save(writer) else "the previous snapshot remains"
                    self.ranks.wait()
                    where = f"{self.phase.key}: stopped at {self.images_shown} images"
                    raise Interrupted(f"{where}, {saved}; run again to go on")
                self.iterate()
                self.seconds = time.monotonic() - started
                hooks.progress(self.images_shown, self.schedule.total_images)
                if self._tick_due():
                    self._tick(hooks)
                hooks.live(self)
                if self.ranks.is_first and writer.due():
                    writer.start(self.snapshot)
            self._save(writer)

    def iterate(self) -> None:
        """`critic_steps` updates of the discriminator and one of the generator, or one joint update."""
        minibatches = self.feed.take(self.images_shown)
        position = self.start_images + self.images_shown
        self.models.randomness.seed(stream_seed(self.config.training.seed, position, RANDOMNESS))
        number = self.images_shown // (len(minibatches) * self.phase.minibatch)
        self.executor.run(minibatches, Due.at(number, self.config.training.adversarial))
        last_shown = self.images_shown + (len(minibatches) - 1) * self.phase.minibatch
        self.images_shown = last_shown + self.phase.minibatch
        if not self.schedule.is_stable(last_shown) and self.schedule.is_stable(self.images_shown):
            self.models.reset_optimizers()
        if not self.finished:
            self.feed.prepare(self.images_shown)

    def _minibatches(self, images_shown: int) -> list[Minibatch]:
        """The inputs of the iteration that begins after `images_shown` of this phase."""
        size = self.phase.minibatch
        steps = self.config.training.critic_steps
        return [self._minibatch(images_shown + step * size) for step in range(steps)]

    def _minibatch(self, images_shown: int) -> Minibatch:
        training, network, size = self.config.training, self.config.network, self.phase.minibatch
        position = self.start_images + images_shown
        images, labels = self.reals.at(position, size, self.ranks)
        draws = draw(training.seed, position, size, network, self.reals.labels)
        return Minibatch(
            images,
            one_hot(labels, network.label_size),
            Draws(*map(self.ranks.share, draws)),
            self._alpha(images_shown),
        )

    def averaged(self) -> Generator:
        """The averaged generator, ready to be sampled."""
        return settled(self.models.ema, self.reals.labels[:SETTLING_LATENTS].cpu())

    def write_checkpoint(self, folder: Path, dataset: DatasetFacts) -> None:
        """Write the checkpoint of the finished phase."""
        images_shown = self.start_images + self.images_shown
        facts = CheckpointFacts(
            phase=self.phase.key,
            resolution=self.phase.resolution,
            images_shown=images_shown,
            kimg=images_shown / 1000,
            identity=self.identity,
            init=None if self.init is None else self.init.digest,
            network=self.config.network,
            training=self.config.training,
            schedule=self.phase,
            dataset=dataset,
            ranks=self.ranks.size,
            threads=cpu_threads(self.device),
            versions=Versions.here(),
        )
        self.averaged()
        write_checkpoint(folder, facts, self.models.network_tensors(), self.models.optimizer_tensors())

    def _alpha(self, images_shown: int) -> Tensor | None:
        if self.schedule.is_stable(images_shown):
            return None
        return torch.full((), self.schedule.alpha(images_shown), device=self.device)

    def alpha(self) -> Tensor | None:
        """The weight of the newest layers now, 0-d; None once the fade is over."""
        return self._alpha(self.images_shown)

    def row(self, machine: Readings = Readings(), swd: float | None = None) -> Row:
        """A row for the history, as of now: the means since the row before. It waits for the device."""
        before = self.history[-1] if self.history else None
        images = self.images_shown - (before.images if before else 0)
        elapsed = self.seconds - (before.seconds if before else 0.0)
        means = (self.models.sums / self._updates(images)).tolist() if images else [None] * len(STATISTICS)
        statistics = dict(zip(STATISTICS, means, strict=True))
        loss = self.config.training.adversarial
        if loss.gradients_at is None and loss.lazy_penalty is None:
            statistics["gradient_norm"] = None
        return Row(
            kimg=(self.start_images + self.images_shown) / 1000,
            images=self.images_shown,
            alpha=self.schedule.alpha(self.images_shown),
            learning_rate=self.phase.learning_rate,
            minibatch=self.phase.minibatch,
            **statistics,
            skipped=int(self.models.generator_adam.skipped + self.models.discriminator_adam.skipped),
            seconds=self.seconds,
            images_per_second=images / elapsed if elapsed else None,
            swd=swd,
            machine=replace(machine, graph_replays=self.executor.replays),
        )

    def _tick(self, hooks: Hooks) -> None:
        """Add a row to the history, and sometimes the SWD and a picture."""
        self.history.append(self.row(hooks.machine(), self._measure(hooks) if self._measure_due() else None))
        self.models.sums.zero_()
        if self.config.training.stop_on_problems:
            for problem in problems(self.history):
                what = f"{self.phase.key}: {problem.what}, and training.stop_on_problems is set"
                raise InputError(f"{what}; {problem.remedy}")

    def _measure(self, hooks: Hooks) -> float:
        """The SWD of the averaged generator; a picture of its images is added to `pictures`."""
        alpha, kimg = self.alpha(), (self.start_images + self.images_shown) / 1000
        generator = self.averaged()
        if picture := hooks.picture(generator, alpha):
            self.pictures[f"{kimg:09.3f}"] = picture
        return hooks.measure(generator, alpha)

    def _updates(self, images: int) -> Tensor:
        """The number of updates in `images` that each of STATISTICS sums up: float [len(STATISTICS)]."""
        critic = images / self.phase.minibatch
        generator = critic / self.config.training.critic_steps
        updates = [generator if name == "g_loss" else critic for name in STATISTICS]
        return torch.tensor(updates, device=self.device)

    def _tick_due(self) -> bool:
        """At equal distances, of which the last ends with the phase; if iterations are few, after each."""
        last, now = (
            TICKS_PER_PHASE * images // self.schedule.total_images
            for images in (self.history[-1].images, self.images_shown)
        )
        return now > last

    def _measure_due(self) -> bool:
        return self.finished or len(self.history) % (TICKS_PER_PHASE // MEASURES_PER_PHASE) == 0

    @property
    def finished(self) -> bool:
        return self.images_shown >= self.schedule.total_images

    def _save(self, writer: SnapshotWriter) -> bool:
        """Write the last snapshot on the first rank; False if the store is not available."""
        if not self.ranks.is_first:
            return True
        writer.start(self.snapshot)
        return writer.wait()

    def snapshot(self) -> Snapshot:
        """A copy of the whole state."""
        models = self.models
        tensors = models.network_tensors() | models.optimizer_tensors() | models.running_tensors()
        tensors |= {
            f"picture.{kimg}": torch.frombuffer(bytearray(png), dtype=torch.uint8)
            for kimg, png in self.pictures.items()
        }
        facts = {
            "network": asdict(self.config.network),
            "resolution": self.phase.resolution,
            "alpha": self.schedule.alpha(self.images_shown),
            "images_shown": self.images_shown,
            "history": [row.columns for row in self.history],
            "seconds": self.seconds,
            "ranks": self.ranks.size,
            "threads": cpu_threads(self.device),
        }
        return self.images_shown, tensors, facts

    def _resume(self, snapshots: SnapshotFolder, hooks: Hooks) -> None:
        """Load the newest snapshot, if there is one, on the first rank and send it to the others.

        On a CPU, training goes on with as many threads as before, because another number changes bits.
        """
        snapshot = snapshots.read() if self.ranks.is_first else None
        if snapshot:
            self.models.load(snapshot[0])
            pictures = stripped("picture", snapshot[0])
            self.pictures = {kimg: bytes(pictures[kimg].numpy()) for kimg in sorted(pictures)}
        self.models.copy_first_rank()
        if facts := self.ranks.tell(snapshot and snapshot[1]):
            ranks = facts.get("ranks", 1)  # missing in old snapshots, which only a single rank wrote
            check_continued(self.config, self.phase, ranks, self.ranks.size)
            threads, here = facts.get("threads"), cpu_threads(self.device)
            if threads and here and threads != here:
                torch.set_num_threads(threads)
                hooks.notice(f"{self.phase.key}: goes on with {threads} CPU threads per process, as it began")
            self.images_shown, self.seconds = facts["images_shown"], facts["seconds"]
            self.history = [Row.of(columns) for columns in facts["history"]]
