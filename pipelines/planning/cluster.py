"""A run on the cluster that infra/cluster.yaml describes: what the pipeline would do there."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.build_dataset.stage import has_parameters
from components.object_store.dataset import find_manifest
from components.results import Results, started_from
from pipelines.compiling import storage_of
from pipelines.dvc import NEVER_RUN, Checkout, Fate, OutOfReach, fates
from pipelines.hand_over import measures_to_hand, phases_to_hand
from pipelines.known_dataset import known_dataset
from pipelines.planning.here import ROOT, device_here, reachable
from pipelines.planning.step_times import Machine, Measured, Range, own_rates
from pipelines.planning.tasks import Plan, Task, in_dvc, stages_of, tasks_of
from pipelines.profile import Pod, Profile
from progan.config import Config
from progan.dataset.manifest import Manifest
from progan.errors import InputError
from progan.snapshots import Checkpoint
from progan.store import Store

SPOT_REPEATS = 1.25  # times the hours of a spot pod, at most: it does some again when interrupted (a guess)
NOT_KEPT = {  # tasks whose results nothing keeps, and when they are run
    "warm-start": "unless Kubeflow's own cache has it",
    "gate": "every run is judged",
    "register": "every run is logged",
    "report": "every run is reported",
}


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
    results = Results(storage.results, config, manifest.digest) if manifest and answers["results"] else None
    phases, measures = _handed_over(results, manifest, remarks)
    place = _Cluster(
        config=config,
        profile=profile,
        here=here,
        has_dataset=manifest is not None and (there is not None or "://" in storage.dataset),
        results=results,
        handed={*(in_dvc("train", key) for key in phases), *measures},
        finished=results.finished(phases) if results else {},
        own=own_rates(config, ROOT, device_here().device),
        manifest=manifest,
        snapshots=answers["snapshots"],
    )
    stages = {stage: items for stage, items in stages_of(config).items() if stage != "paint"}
    tasks = tuple(tasks_of(config, place, stages))
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


def _handed_over(
    results: Results | None, manifest: Manifest | None, remarks: list[str]
) -> tuple[dict[str, Checkpoint], list[str]]:
    """What a submission brings of this checkout to the cluster's results: phases, and measures by stage."""
    if results is None or manifest is None or "://" not in results.uri or not Path(".dvc").is_dir():
        return {}, []
    try:
        here = Checkout()
        phases = phases_to_hand(here, results, manifest)
        return phases, measures_to_hand(here, results, phases)
    except OutOfReach as error:
        remarks.append(f"{error}; counted as if there were nothing")
        return {}, []


@dataclass(frozen=True)
class _Cluster:
    """The cluster as a Place: what it has of these parameters and data."""

    config: Config
    profile: Profile
    here: dict[str, Fate]  # what DVC says of the same stages: why they are not among the results
    has_dataset: bool  # or gets it by being handed over
    results: Results | None
    handed: set[str]  # what a submission brings to the results, by DVC's names of the stages
    finished: dict[str, Checkpoint]  # of the results and those, what no phase has to be trained for
    own: tuple[Measured, ...]
    manifest: Manifest | None
    snapshots: Store | None
    dataset_copies = 1

    def fate(self, name: str) -> Fate:
        stage, _, key = name.partition("@")
        if stage in NOT_KEPT:
            return Fate((NOT_KEPT[stage],))
        if name in self.handed:
            return Fate(remark="handed over from here")
        if self._is_kept(stage, key):
            return Fate()
        upstream = tuple(each for each in self._before(stage, key) if self.fate(each).runs)
        here = self.here.get(name, Fate((NEVER_RUN,) if self.here else ()))
        return Fate(here.why or (() if upstream else ("the cluster has none",)), upstream)

    def checkpoint(self, key: str) -> Checkpoint | None:
        return self.finished.get(key, started_from(self.config) if key in self.config.warm_start else None)

    def machine(self, stage: str, key: str | None) -> Machine:
        pod = self._pod(stage, key)
        return Machine(pod.gpu or "any GPU", pod.gpus) if pod.gpus else Machine("CPU", 0)

    def placed(self, task: Task) -> Task:
        pod = self._pod(task.stage, task.item)
        if task.hours and pod.spot:
            hours = task.hours
            task = replace(task, hours=Range(hours.low, hours.likely, hours.high * SPOT_REPEATS))
        if not pod.gpus:
            return task
        price = task.hours and task.hours * (pod.gpus * pod.gpu_hour_price)
        return replace(task, price=price, card_gib=pod.gpu_memory_gib)

    def _is_kept(self, stage: str, key: str) -> bool:
        if stage == "build-dataset":
            return self.has_dataset
        if stage == "score-network":
            return self.results is not None and self.results.has_score_network()
        if stage == "evaluate":
            checkpoint = self.finished.get(key)
            return bool(self.results and checkpoint and self.results.is_evaluated(key, checkpoint))
        return key in self.finished

    def _before(self, stage: str, key: str) -> list[str]:
        """The tasks whose results decide those of this one."""
        data = [] if self.manifest or stage == "build-dataset" else ["build-dataset"]
        if stage == "evaluate":
            return [*data, in_dvc("train", key), "score-network"]
        keys = list(self.config.phases)
        return [*data, *(in_dvc("train", each) for each in keys[: keys.index(key)][-1:])] if key else data

    def _pod(self, stage: str, key: str | None) -> Pod:
        pod = self.profile.pod(key if stage in ("train", "evaluate") else None)
        return replace(pod, gpus=min(1, pod.gpus)) if stage == "evaluate" else pod
