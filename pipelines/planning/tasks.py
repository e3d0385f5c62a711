"""The tasks of a planned run: what each would do, why, and how much time, memory and money it needs."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import ClassVar, Literal

from components.results import Trace
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

PNG_BYTES = 0.6  # per channel of a pixel: to about this photographs compress
CHECKPOINT_COPIES = 2  # the phase's output, and its copy in DVC's cache or the cluster's results
State = Literal["cached", "remote", "resumes", "runs"]


@dataclass(frozen=True)
class PlannedTask:
    """What a run would do with one task.

    Amounts cover the work that is left, or that of a result in DVC's remote if it is not pulled; None if they
    do not apply, are unknown, or the task is cached.
    """

    stage: str
    key: str | None  # such as the phase
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
    card_gib: float | None = None  # memory of that GPU model
    disk_gib: float | None = None
    price: Range | None = None


@dataclass(frozen=True)
class Plan:
    """The tasks of a run in their order, and the place where it would run."""

    place: str
    ends_early: bool  # whether tasks are skipped if those before them give the same outputs as before
    tasks: tuple[PlannedTask, ...]
    remarks: tuple[str, ...]
    obstacle: str = ""  # that the run would stop at
    currency: str = ""  # of the prices, if there are any

    @property
    def to_do(self) -> tuple[PlannedTask, ...]:
        return tuple(task for task in self.tasks if task.state in ("resumes", "runs"))

    @property
    def to_pull(self) -> tuple[PlannedTask, ...]:
        """The tasks whose results are in DVC's remote alone: without `dvc pull`, they are done again."""
        return tuple(task for task in self.tasks if task.state == "remote")

    @property
    def hours(self) -> Range:
        """The hours of all tasks to do: an upper bound, as everything downstream of a change counts."""
        return _total(task.hours for task in self.to_do)

    @property
    def certain_hours(self) -> Range:
        """The hours of the stale tasks alone: the rest is skipped if their outputs stay the same."""
        return _total(task.hours for task in self.to_do if task.why)

    @property
    def hours_unless_pulled(self) -> Range:
        """The additional hours if the results in DVC's remote are not pulled."""
        return _total(task.hours for task in self.to_pull)

    @property
    def price(self) -> Range:
        return _total(task.price for task in self.to_do)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The names of the tasks whose hours are unknown."""
        return tuple(task.name for task in self.to_do if task.hours is None)


def _total(amounts: Iterable[Range | None]) -> Range:
    return reduce(add, (amount for amount in amounts if amount is not None), NOTHING)


@dataclass(frozen=True)
class Place(ABC):
    """Where a run would take place, and what it could reuse there."""

    config: Config
    fates_here: dict[str, Fate]  # of the tasks by DVC, in this checkout
    traces: dict[str, Trace]  # what there is of each task, by its name
    own_rates: tuple[Measured, ...]  # of this project's own runs
    manifest: Manifest | None  # of the dataset; None if it has to be built
    snapshots: Store | None  # that phases resume from; None if they cannot be read from here

    dataset_copies: ClassVar[int]  # of a built dataset

    @abstractmethod
    def fate(self, task: Task) -> Fate:
        """Whether the task runs, and why."""

    @abstractmethod
    def machine(self, task: Task) -> Machine:
        """The machine that the task runs on."""

    def identity(self, task: Task) -> str | None:
        """The identity of the task; None if a result that it depends on is missing."""
        trace = self.traces.get(task.name)
        return trace.identity if trace else None

    def with_costs(self, task: PlannedTask) -> PlannedTask:
        """The task with its price, the memory of its GPU model, and the work that spot pods repeat."""
        return task


def plan_tasks(place: Place, tasks: Iterable[Task]) -> Iterator[PlannedTask]:
    """What a run at `place` would do with each of `tasks`."""
    for task in tasks:
        fate, machine = place.fate(task), place.machine(task)
        planned = PlannedTask(task.stage, task.key, task.title, "cached", gpus=machine.gpus)
        if fate.runs:
            upstream = tuple(name.replace("@", " ") for name in fate.upstream)
            planned = replace(planned, state="runs", why=fate.why, upstream=upstream)
        elif fate.remark:
            planned = replace(planned, state="remote" if fate.is_remote else "cached", why=(fate.remark,))
        if planned.state != "cached":
            fill = _with_training if task.stage == "train" else _with_stage_work
            planned = place.with_costs(fill(place, task, planned, machine))
        yield planned


def _with_stage_work(place: Place, task: Task, planned: PlannedTask, machine: Machine) -> PlannedTask:
    """The amounts of a task of any stage but `train`."""
    config = place.config
    photographs = place.manifest.images if place.manifest else step_times.photograph_count(config, Path())
    if task.stage == "paint" and task.key:
        photographs = config.paint[task.key].images
    estimate = step_times.stage_time(task.stage, config, task.key, photographs, machine)
    images = photographs if task.stage in ("paint", "build-dataset") else None
    if task.stage == "build-dataset" and images:
        sides = config.dataset.resolutions
        size = images * sum(side**2 for side in sides) * config.network.channels * PNG_BYTES
        planned = replace(planned, disk_gib=place.dataset_copies * size / 2**30)
    if estimate:
        planned = replace(planned, hours=estimate.seconds * (1 / 3600), basis=estimate.basis)
    return replace(planned, images=images)


def _with_training(place: Place, task: Task, planned: PlannedTask, machine: Machine) -> PlannedTask:
    """The amounts of a phase, resumed from its newest snapshot if it has one."""
    config = place.config
    phase = config.phase(str(task.key))
    shown = _shown_at_snapshot(place, task)
    images = Schedule(phase).total_images - (shown or 0)
    estimate = step_times.training_time(config, phase.key, images, machine, place.own_rates)
    memory = training_bytes(config, phase.key, machine.gpus) / 2**30 if machine.gpus else None
    return replace(
        planned,
        state=planned.state if shown is None else "resumes",
        resumes_at_kimg=None if shown is None else (_shown_before(config, phase) + shown) / 1000,
        images=images,
        steps=images // phase.minibatch,
        hours=estimate.seconds * (1 / 3600),
        basis=estimate.basis,
        gpu_memory_gib=memory,
        disk_gib=(CHECKPOINT_COPIES + KEPT_SNAPSHOTS) * checkpoint_bytes(config, phase.key) / 2**30,
    )


def _shown_before(config: Config, phase: PhaseConfig) -> int:
    """The images shown in the phases before this one."""
    earlier = (each for each in config.phases.values() if each.resolution < phase.resolution)
    return sum(Schedule(each).total_images for each in earlier)


def _shown_at_snapshot(place: Place, task: Task) -> int | None:
    """The images shown in the phase when its newest snapshot was written; None if it has no snapshot."""
    identity = place.identity(task)
    if place.snapshots is None or identity is None:
        return None
    return SnapshotFolder(place.snapshots, str(task.key), identity).newest()
