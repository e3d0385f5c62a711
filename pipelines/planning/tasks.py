"""The tasks of a run: what would be done with each, why, and what it takes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Literal, Protocol

from pipelines.dvc import Fate
from pipelines.planning import step_times
from pipelines.planning.step_times import NOTHING, Machine, Measured, Range
from progan.config import Config, PhaseConfig
from progan.dataset.manifest import Manifest
from progan.memory import checkpoint_bytes, training_bytes
from progan.phases import Schedule
from progan.snapshots import KEPT_SNAPSHOTS, Checkpoint, SnapshotFolder
from progan.store import Store
from progan.training import fingerprint

PNG_BYTES = 0.6  # of a pixel's three or one: photographs compress to about as much
CHECKPOINT_COPIES = 2  # what the phase hands on, and what DVC's cache or the cluster's results keep of it
State = Literal["cached", "resumes", "runs"]


@dataclass(frozen=True)
class Task:
    """A stage, perhaps of one phase, as a run would meet it.

    Amounts are those of what is still to be done: none of a task that is cached, and None where they do not
    apply or cannot be known.
    """

    stage: str
    item: str | None  # the phase, or what is painted
    state: State
    why: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    resumes_at_kimg: float | None = None  # counted over the whole run
    images: int | None = None
    steps: int | None = None
    hours: Range | None = None
    basis: str | None = None
    gpus: int = 0
    gpu_memory_gib: float | None = None  # of each GPU
    card_gib: float | None = None  # what such a card has
    disk_gib: float | None = None
    price: Range | None = None

    @property
    def name(self) -> str:
        return self.stage if self.item is None else f"{self.stage} {self.item}"


@dataclass(frozen=True)
class Plan:
    """All tasks of a run, in the order in which it meets them, and the place where it would run."""

    place: str
    ends_early: bool  # whether what follows a change is left out where that makes the same as before
    tasks: tuple[Task, ...]
    remarks: tuple[str, ...]
    currency: str = ""  # of the prices, where there are any

    @property
    def to_do(self) -> tuple[Task, ...]:
        return tuple(task for task in self.tasks if task.state != "cached")

    @property
    def hours(self) -> Range:
        """Of all that is to be done: an upper bound, as what is downstream of a change counts."""
        return _total(task.hours for task in self.to_do)

    @property
    def certain_hours(self) -> Range:
        """Of what is stale by itself: all there is to do if everything it makes turns out the same."""
        return _total(task.hours for task in self.to_do if task.why)

    @property
    def price(self) -> Range:
        return _total(task.price for task in self.to_do)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The tasks whose hours nobody can tell."""
        return tuple(task.name for task in self.to_do if task.hours is None)


def _total(amounts: Iterable[Range | None]) -> Range:
    return reduce(add, (amount for amount in amounts if amount is not None), NOTHING)


class Place(Protocol):
    """Where a run would take place, and what is known there."""

    @property
    def own(self) -> tuple[Measured, ...]:
        """Rates of this project's own runs."""

    @property
    def manifest(self) -> Manifest | None:
        """The dataset's, if it is there and is not built again."""

    @property
    def dataset_copies(self) -> int:
        """How often a built dataset is kept."""

    @property
    def snapshots(self) -> Store | None:
        """Where phases go on from, if it can be asked."""

    def fate(self, name: str) -> Fate:
        """Whether the task runs, and why; its name is DVC's, such as train@r0008."""

    def checkpoint(self, key: str) -> Checkpoint | None:
        """That of a phase that is finished here."""

    def machine(self, stage: str, key: str | None) -> Machine:
        """What the task runs on."""

    def placed(self, task: Task) -> Task:
        """The task with its price, what memory a card has, and what spot pods repeat."""


def tasks_of(config: Config, place: Place, stages: Mapping[str, tuple[str | None, ...]]) -> Iterator[Task]:
    """The tasks of these stages and items."""
    for stage, items in stages.items():
        for item in items:
            yield _task(config, place, stage, item)


def stages_of(config: Config) -> dict[str, tuple[str | None, ...]]:
    """Every stage with its items, in the order of a run: as dvc.yaml has them."""
    phases, alone = tuple(config.phases), (None,)
    return {
        "paint": tuple(config.paint),
        "build-dataset": alone,
        "score-network": alone,
        "warm-start": tuple(config.warm_start),
        "train": phases,
        "evaluate": phases,
        "gate": alone,
        "register": alone,
        "report": alone,
    }


def in_dvc(stage: str, item: str | None) -> str:
    """What DVC calls a stage."""
    return stage if item is None else f"{stage}@{item}"


def _task(config: Config, place: Place, stage: str, item: str | None) -> Task:
    fate = place.fate(in_dvc(stage, item))
    machine = place.machine(stage, item if stage in ("train", "evaluate") else None)
    if not fate.runs:
        return Task(stage, item, "cached", (fate.remark,) if fate.remark else (), gpus=machine.gpus)
    upstream = tuple(name.replace("@", " ") for name in fate.upstream)
    task = Task(stage, item, "runs", fate.why, upstream, gpus=machine.gpus)
    if item and stage == "train":
        task = _training(config, place, config.phase(item), task, machine)
    else:
        task = _other(config, place, task, machine)
    return place.placed(task)


def _other(config: Config, place: Place, task: Task, machine: Machine) -> Task:
    photographs = place.manifest.images if place.manifest else step_times.photographs(config, Path())
    if task.stage == "paint" and task.item:
        photographs = config.paint[task.item].images
    estimate = step_times.other(task.stage, config, task.item, photographs, machine)
    images = photographs if task.stage in ("paint", "build-dataset") else None
    if task.stage == "build-dataset" and images:
        sides = config.dataset.resolutions
        size = images * sum(side**2 for side in sides) * config.network.channels * PNG_BYTES
        task = replace(task, disk_gib=place.dataset_copies * size / 2**30)
    if estimate:
        task = replace(task, hours=estimate.seconds * (1 / 3600), basis=estimate.basis)
    return replace(task, images=images)


def _training(config: Config, place: Place, phase: PhaseConfig, task: Task, machine: Machine) -> Task:
    shown = _resumes_at(config, place, phase)
    images = Schedule(phase).total_images - (shown or 0)
    estimate = step_times.training(config, phase.key, images, machine, place.own)
    memory = training_bytes(config, phase.key, machine.gpus) / 2**30 if machine.gpus else None
    return replace(
        task,
        state="runs" if shown is None else "resumes",
        resumes_at_kimg=None if shown is None else (_shown_before(place, phase) + shown) / 1000,
        images=images,
        steps=images // phase.minibatch,
        hours=estimate.seconds * (1 / 3600),
        basis=estimate.basis,
        gpu_memory_gib=memory,
        disk_gib=(CHECKPOINT_COPIES + KEPT_SNAPSHOTS) * checkpoint_bytes(config, phase.key) / 2**30,
    )


def _before(place: Place, phase: PhaseConfig) -> Checkpoint | None:
    return None if phase.is_first else place.checkpoint(Path(phase.init).name)


def _shown_before(place: Place, phase: PhaseConfig) -> int:
    before = _before(place, phase)
    return before.facts.get("images_shown", 0) if before else 0


def _resumes_at(config: Config, place: Place, phase: PhaseConfig) -> int | None:
    """The images shown within the phase when its newest snapshot was written; None when there is none.

    A phase's fingerprint is known when its data is, and the checkpoint that it starts from.
    """
    before = _before(place, phase)
    if place.snapshots is None or place.manifest is None or (before is None and not phase.is_first):
        return None
    digest = place.manifest.level(phase.resolution).digest
    folder = SnapshotFolder(place.snapshots, phase.key, fingerprint(config, phase, digest, before))
    return folder.newest()
