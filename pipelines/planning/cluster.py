"""A run on the cluster that infra/cluster.yaml describes: what the pipeline would do there."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from components import stages
from components.build_dataset.stage import has_parameters
from components.object_store.dataset import find_manifest
from components.results import Results, Source, Trace, trace
from components.stages import Task
from pipelines.compiling import storage_of
from pipelines.dvc import NEVER_RUN, Checkout, Fate, OutOfReach, fates
from pipelines.known_dataset import known_dataset
from pipelines.planning.here import ROOT, device_here, reachable
from pipelines.planning.step_times import Machine, Measured, Range, own_rates
from pipelines.planning.tasks import Plan, PlannedTask, planned
from pipelines.profile import Profile
from progan.config import Config
from progan.dataset.manifest import Manifest
from progan.errors import InputError
from progan.store import Store

SPOT_REPEATS = 1.25  # times the hours of a spot pod, at most: it does some again when interrupted (a guess)


def plan_cluster(config: Config, params: Any, dataset: Path, profile: Profile) -> Plan:
    """What the pipeline would do on the cluster with `config`, which the file contents `params` describe.

    dataset: the folder of the dataset, if it was built here.
    """
    remarks: list[str] = []
    storage, here = storage_of(config, profile), fates(ROOT, params)
    answers = {name: reachable(uri, name, remarks) for name, uri in vars(storage).items()}
    is_stale = here.get("build-dataset", Fate()).runs
    there = find_manifest(storage.dataset) if answers["dataset"] else None
    known = there or (None if is_stale else _known(config, dataset, remarks))
    manifest = known if known and has_parameters(config, known) else None
    results = Results(storage.results) if answers["results"] else None
    place = _Cluster(
        config=config,
        profile=profile,
        here=here,
        has_dataset=manifest is not None and (there is not None or "://" in storage.dataset),
        traces=_traces(config, manifest, results, remarks),
        own=own_rates(config, ROOT, device_here().device),
        manifest=manifest,
        snapshots=answers["snapshots"],
    )
    tasks = tuple(planned(config, place, place.tasks))
    return Plan("the cluster", False, tasks, tuple(remarks), profile.currency)


def _known(config: Config, dataset: Path, remarks: list[str]) -> Manifest | None:
    """The dataset that lies here, or that dvc.lock knows; None where it is of other parameters."""
    try:
        return known_dataset(config, str(dataset))
    except OutOfReach as error:
        remarks.append(f"{error}; counted as if there were nothing")
    except InputError:
        pass
    return None


def _traces(
    config: Config, manifest: Manifest | None, results: Results | None, remarks: list[str]
) -> dict[str, Trace]:
    """What the cluster has, or gets of this checkout by a submission, by the names of the tasks."""
    if manifest is None or results is None:
        return {}
    sources: list[Source] = [results]
    if "://" in results.uri and Path(".dvc").is_dir():
        sources.append(Checkout())
    try:
        return {found.task.name: found for found in trace(config, manifest, *sources)}
    except OutOfReach as error:
        remarks.append(f"{error}; counted as if there were nothing")
        return {found.task.name: found for found in trace(config, manifest, results)}


@dataclass(frozen=True)
class _Cluster:
    """The cluster as a Place: what it has of these parameters and data."""

    config: Config
    profile: Profile
    here: dict[str, Fate]  # what DVC says of the same tasks: why they are not among the results
    has_dataset: bool  # or gets it by being handed over
    traces: dict[str, Trace]
    own: tuple[Measured, ...]
    manifest: Manifest | None
    snapshots: Store | None
    dataset_copies = 1

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(task for task in stages.tasks(self.config) if task.run != "here")

    def fate(self, task: Task) -> Fate:
        return self._fates[task.name]

    @cached_property
    def _fates(self) -> dict[str, Fate]:
        found: dict[str, Fate] = {}
        for task in self.tasks:
            found[task.name] = self._fate(task, [name for name in found if self._may_change(name, found)])
        return found

    def _may_change(self, name: str, found: dict[str, Fate]) -> bool:
        """Whether a task runs whose result may be another than before: a dataset that is known is not."""
        return found[name].runs and not (name == "build-dataset" and self.manifest)

    def _fate(self, task: Task, changing: list[str]) -> Fate:
        """changing: the names of the tasks before it whose results may change."""
        if task.stage == "build-dataset":
            if self.has_dataset:
                return Fate()
        elif task.run == "always":
            return Fate(("every run does it",))
        found = self.traces.get(task.name)
        if found and found.receipt:
            return Fate(remark="" if isinstance(found.source, Results) else "handed over from here")
        upstream = tuple(each.name for each in stages.before(task, self.tasks) if each.name in changing)
        here = self.here.get(task.name, Fate((NEVER_RUN,) if self.here else ()))
        return Fate(here.why or (() if upstream else ("the cluster has none",)), upstream)

    def identity(self, task: Task) -> str | None:
        found = self.traces.get(task.name)
        return found.identity if found else None

    def machine(self, task: Task) -> Machine:
        pod = self.profile.pod_of(task)
        return Machine(pod.gpu or "any GPU", pod.gpus) if pod.gpus else Machine("CPU", 0)

    def placed(self, task: PlannedTask) -> PlannedTask:
        pod = self.profile.pod_of(stages.task(self.config, task.stage, task.key))
        if task.hours and pod.spot:
            hours = task.hours
            task = replace(task, hours=Range(hours.low, hours.likely, hours.high * SPOT_REPEATS))
        if not pod.gpus:
            return task
        price = task.hours and task.hours * (pod.gpus * pod.gpu_hour_price)
        return replace(task, price=price, card_gib=pod.gpu_memory_gib)
