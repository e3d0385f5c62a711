"""The plan of a run on the cluster that infra/cluster.yaml describes."""

from collections.abc import Collection
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
from pipelines.planning.here import ROOT, machine_here, reachable_store, remarks_on
from pipelines.planning.step_times import Machine, Range, own_rates
from pipelines.planning.tasks import Place, Plan, PlannedTask, plan_tasks
from pipelines.profile import Profile
from progan.config import Config
from progan.dataset.manifest import Manifest
from progan.errors import InputError
from progan.memory import checkpoint_bytes
from progan.snapshots import expected_interval


def plan_cluster(config: Config, params: Any, dataset: Path, profile: Profile) -> Plan:
    """What the pipeline would do on the cluster with `config`, which was parsed from the contents `params`.

    dataset: the folder of the dataset, if it was built here.
    """
    remarks = remarks_on(config)
    storage, fates_here = storage_of(config, profile), fates(ROOT, params)
    stores = {name: reachable_store(uri, name, remarks) for name, uri in vars(storage).items()}
    is_stale = fates_here.get("build-dataset", Fate()).runs
    stored = find_manifest(storage.dataset) if stores["dataset"] else None
    manifest = stored or (None if is_stale else _manifest_here(config, dataset, remarks))
    if manifest and not has_parameters(config, manifest):
        manifest = None
    results = Results(storage.results) if stores["results"] else None
    place = _Cluster(
        config=config,
        fates_here=fates_here,
        traces=_traces(config, manifest, results, remarks),
        own_rates=own_rates(config, ROOT, machine_here().device),
        manifest=manifest,
        snapshots=stores["snapshots"],
        profile=profile,
        has_dataset=manifest is not None and (stored is not None or "://" in storage.dataset),
    )
    return Plan(
        place="the cluster",
        ends_early=False,
        tasks=tuple(plan_tasks(place, place.tasks)),
        remarks=tuple(remarks),
        currency=profile.currency,
    )


def _manifest_here(config: Config, dataset: Path, remarks: list[str]) -> Manifest | None:
    """The manifest of the dataset here or in dvc.lock; None if there is none with these parameters."""
    try:
        return known_dataset(config, str(dataset))
    except OutOfReach as error:
        remarks.append(f"{error}; counted as empty")
    except InputError:
        pass
    return None


def _traces(
    config: Config, manifest: Manifest | None, results: Results | None, remarks: list[str]
) -> dict[str, Trace]:
    """What the cluster has of each task, or is handed over from this checkout, by the task's name."""
    if manifest is None or results is None:
        return {}
    sources: list[Source] = [results]
    if "://" in results.uri and Path(".dvc").is_dir():
        sources.append(Checkout())
    try:
        return {each.task.name: each for each in trace(config, manifest, *sources)}
    except OutOfReach as error:
        remarks.append(f"{error}; counted as empty")
        return {each.task.name: each for each in trace(config, manifest, results)}


@dataclass(frozen=True)
class _Cluster(Place):
    """The cluster as a Place. The fates here tell why there is no result."""

    profile: Profile
    has_dataset: bool  # or is handed it over

    dataset_copies = 1

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(task for task in stages.tasks(self.config) if task.run != "here")

    def fate(self, task: Task) -> Fate:
        return self._fates[task.name]

    @cached_property
    def _fates(self) -> dict[str, Fate]:
        task_fates: dict[str, Fate] = {}
        changing: set[str] = set()
        for task in self.tasks:
            fate = task_fates[task.name] = self._fate(task, changing)
            if fate.runs and not (task.stage == "build-dataset" and self.manifest):
                changing.add(task.name)
        return task_fates

    def _fate(self, task: Task, changing: Collection[str]) -> Fate:
        """changing: the names of the tasks before this one whose results may change."""
        if task.stage == "build-dataset":
            if self.has_dataset:
                return Fate()
        elif task.run == "always":
            return Fate(("part of every run",))
        traced = self.traces.get(task.name)
        if traced and traced.receipt:
            return Fate(remark="" if isinstance(traced.source, Results) else "handed over from here")
        upstream = tuple(each.name for each in stages.before(task, self.tasks) if each.name in changing)
        why_here = self.fates_here.get(task.name, Fate((NEVER_RUN,) if self.fates_here else ())).why
        return Fate(why_here or (() if upstream else ("no result on the cluster",)), upstream)

    def machine(self, task: Task) -> Machine:
        pod = self.profile.pod_of(task)
        return Machine(pod.gpu or "any GPU", pod.gpus) if pod.gpus else Machine("CPU", 0)

    def with_costs(self, task: PlannedTask) -> PlannedTask:
        pod = self.profile.pod_of(stages.task(self.config, task.stage, task.key))
        if task.hours and pod.spot:
            lost = task.hours.high
            if task.stage == "train":
                lost = expected_interval(checkpoint_bytes(self.config, str(task.key))) / 3600
            task = replace(task, hours=task.hours + Range(0, 0, pod.retries * lost))
        if not pod.gpus:
            return task
        price = task.hours and task.hours * (pod.gpus * pod.gpu_hour_price)
        return replace(task, price=price, card_gib=pod.gpu_memory_gib)
