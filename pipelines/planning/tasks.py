"""What would be done with each task of a run, why, and what it takes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Literal, Protocol

from components.stages import Task
from pipelines.dvc import Fate
from pipelines.planning import step_times
from pipelines.planning.step_times import NOTHING, Machine, Measured, Range
from progan.config import Config, PhaseConfig
from progan.dataset.manifest import Manifest
from progan.memory import checkpoint_bytes, training_bytes
from progan.phases import Schedule
from progan.snapshots import KEPT_SNAPSHOTS, SnapshotFolder
from progan.store import Store

PNG_BYTES = 0.6  # of a pixel's three or one: photographs compress to about as much
CHECKPOINT_COPIES = 2  # what the phase hands on, and what DVC's cache or the cluster's results keep of it
State = Literal["cached", "resumes", "runs"]


@dataclass(frozen=True)
class PlannedTask:
    """A task as a run would meet it.

    Amounts are those of what is still to be done: none of a task that is cached, and None where they do not
    apply or cannot be known.
    """

    stage: str
    key: str | None  # the phase, or what else the stage is repeated for
    name: str  # as people read it
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


@dataclass(frozen=True)
class Plan:
    """All tasks of a run, in the order in which it meets them, and the place where it would run."""

    place: str
    ends_early: bool  # whether what follows a change is left out where that makes the same as before
    tasks: tuple[PlannedTask, ...]
    remarks: tuple[str, ...]
    currency: str = ""  # of the prices, where there are any

    @property
    def to_do(self) -> tuple[PlannedTask, ...]:
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

    def fate(self, task: Task) -> Fate:
        """Whether the task runs, and why."""

    def identity(self, task: Task) -> str | None:
        """That of a task; None while a result that it depends on is not there."""

    def machine(self, task: Task) -> Machine:
        """What the task runs on."""

    def placed(self, task: PlannedTask) -> PlannedTask:
        """The task with its price, what memory a card has, and what spot pods repeat."""


def planned(config: Config, place: Place, tasks: Iterable[Task]) -> Iterator[PlannedTask]:
    """What would be done with each of `tasks`."""
    for task in tasks:
        fate, machine = place.fate(task), place.machine(task)
        known = PlannedTask(task.stage, task.key, task.title, "cached", gpus=machine.gpus)
        if not fate.runs:
            yield replace(known, why=(fate.remark,) if fate.remark else ())
            continue
        upstream = tuple(name.replace("@", " ") for name in fate.upstream)
        known = replace(known, state="runs", why=fate.why, upstream=upstream)
        fill = _training if task.stage == "train" else _other
        yield place.placed(fill(config, place, task, known, machine))


def _other(config: Config, place: Place, task: Task, known: PlannedTask, machine: Machine) -> PlannedTask:
    photographs = place.manifest.images if place.manifest else step_times.photographs(config, Path())
    if task.stage == "paint" and task.key:
        photographs = config.paint[task.key].images
    estimate = step_times.other(task.stage, config, task.key, photographs, machine)
    images = photographs if task.stage in ("paint", "build-dataset") else None
    if task.stage == "build-dataset" and images:
        sides = config.dataset.resolutions
        size = images * sum(side**2 for side in sides) * config.network.channels * PNG_BYTES
        known = replace(known, disk_gib=place.dataset_copies * size / 2**30)
    if estimate:
        known = replace(known, hours=estimate.seconds * (1 / 3600), basis=estimate.basis)
    return replace(known, images=images)


def _training(config: Config, place: Place, task: Task, known: PlannedTask, machine: Machine) -> PlannedTask:
    phase = config.phase(str(task.key))
    shown = _resumes_at(place, task)
    images = Schedule(phase).total_images - (shown or 0)
    estimate = step_times.training(config, phase.key, images, machine, place.own)
    memory = training_bytes(config, phase.key, machine.gpus) / 2**30 if machine.gpus else None
    return replace(
        known,
        state="runs" if shown is None else "resumes",
        resumes_at_kimg=None if shown is None else (_shown_before(config, phase) + shown) / 1000,
        images=images,
        steps=images // phase.minibatch,
        hours=estimate.seconds * (1 / 3600),
        basis=estimate.basis,
        gpu_memory_gib=memory,
        disk_gib=(CHECKPOINT_COPIES + KEPT_SNAPSHOTS) * checkpoint_bytes(config, phase.key) / 2**30,
    )


def _shown_before(config: Config, phase: PhaseConfig) -> int:
    """The images of the phases before this one."""
    earlier = (each for each in config.phases.values() if each.resolution < phase.resolution)
    return sum(Schedule(each).total_images for each in earlier)


def _resumes_at(place: Place, task: Task) -> int | None:
    """The images shown within the phase when its newest snapshot was written; None when there is none."""
    identity = place.identity(task)
    if place.snapshots is None or identity is None:
        return None
    return SnapshotFolder(place.snapshots, str(task.key), identity).newest()
