"""A run on the cluster that infra/cluster.yaml describes: what the pipeline would do there."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components import digests
from pipelines.planning.here import ROOT, device_here, reachable
from pipelines.planning.staleness import Fate, fates
from pipelines.planning.step_times import Machine, Measured, Range, own_rates
from pipelines.planning.tasks import Plan, Task, in_dvc, stages_of, tasks_of
from pipelines.profile import Pod, Profile
from progan.config import Config
from progan.dataset.build import deciding_parameters
from progan.dataset.manifest import MANIFEST_NAME, Manifest
from progan.dataset.reader import load_manifest, parse_manifest
from progan.files import digest_of
from progan.snapshots import FACTS, Checkpoint
from progan.store import Store

SPOT_REPEATS = (
    1.25  # times the hours of a spot pod, at most: what it does again after interruptions (a guess)
)
NOT_KEPT = {  # tasks whose results no store keeps, and when they are run
    "score-network": "unless Kubeflow's own cache has it",
    "warm-start": "unless Kubeflow's own cache has it",
    "gate": "every run is judged",
    "register": "if the gate passes",
    "report": "every run is reported",
}


def plan_cluster(config: Config, params: Any, dataset: Path, profile: Profile) -> Plan:
    """What the pipeline would do on the cluster with `config`, which the file contents `params` describe.

    dataset: the folder of the dataset, if it was built here.
    """
    remarks: list[str] = []
    storage, here = profile.storage, fates(ROOT, params)
    there = _manifest_at(config, reachable(storage.dataset, "dataset", remarks))
    stale = here.get("build-dataset", Fate()).runs
    manifest = None if stale else there or _matching(config, dataset)
    results = _Finished(config, manifest, reachable(storage.results, "results", remarks))
    snapshots = reachable(storage.snapshots, "snapshots", remarks)
    own = own_rates(config, ROOT, device_here().device)
    place = _Cluster(
        config, profile, here, there is not None and not stale, results, own, manifest, snapshots
    )
    stages = {stage: items for stage, items in stages_of(config).items() if stage != "paint"}
    return Plan("the cluster", tuple(tasks_of(config, place, stages)), tuple(remarks))


def _manifest_at(config: Config, store: Store | None) -> Manifest | None:
    """That of the dataset which the cluster has, if params.yaml describes that one."""
    content = store.read(MANIFEST_NAME) if store else None
    return _described(config, parse_manifest(json.loads(content), MANIFEST_NAME)) if content else None


def _matching(config: Config, dataset: Path) -> Manifest | None:
    return _described(config, load_manifest(dataset)) if (dataset / MANIFEST_NAME).exists() else None


def _described(config: Config, manifest: Manifest) -> Manifest | None:
    asked = config.dataset.source, deciding_parameters(config.dataset)
    return manifest if (manifest.source, manifest.parameters) == asked else None


@dataclass(frozen=True)
class _Finished:
    """What earlier runs finished, as the cluster's results store keeps it by what decides it."""

    config: Config
    manifest: Manifest | None
    store: Store | None

    def checkpoint(self, key: str) -> Checkpoint | None:
        name = self._name("checkpoints", key, digests.train_params(self.config, key))
        content = name and self.store and self.store.read(f"{name}/{FACTS}")
        return Checkpoint(Path(name), json.loads(content)) if content else None

    def has_evaluation(self, key: str) -> bool:
        name = self._name("evaluation", key, digests.evaluate_params(self.config, key))
        return bool(name and self.store and self.store.read(f"{name}.json"))

    def _name(self, what: str, key: str, params_digest: str) -> str:
        """As components/results.py names it; empty when the dataset is not known."""
        if self.manifest is None:
            return ""
        return f"{what}/{key}-{digest_of([params_digest, self.manifest.digest])[:16]}"


@dataclass(frozen=True)
class _Cluster:
    config: Config
    profile: Profile
    here: dict[str, Fate]  # what DVC says of the same stages: why they are not among the results
    has_dataset: bool
    results: _Finished
    own: tuple[Measured, ...]
    manifest: Manifest | None
    snapshots: Store | None

    def fate(self, name: str) -> Fate:
        stage, _, key = name.partition("@")
        if stage in NOT_KEPT:
            return Fate((NOT_KEPT[stage],))
        if stage == "build-dataset":
            return Fate() if self.has_dataset else self._why(name, ())
        if stage == "train":
            return Fate() if self.checkpoint(key) else self._why(name, self._before(key))
        if self.results.has_evaluation(key) and self.checkpoint(key):
            return Fate()
        return self._why(name, () if self.checkpoint(key) else (in_dvc("train", key),))

    def checkpoint(self, key: str) -> Checkpoint | None:
        return self.results.checkpoint(key)

    def machine(self, stage: str, key: str | None) -> Machine:
        pod = self._pod(stage, key)
        return Machine(pod.gpu or "any GPU", pod.gpus) if pod.gpus else Machine("CPU", 0)

    def finished(self, task: Task) -> Task:
        """With the card's memory and the price of the pod, whose hours may be spot ones."""
        pod = self._pod(task.stage, task.item)
        if not pod.gpus:
            return task
        price = task.hours and task.hours * (pod.gpus * pod.gpu_hour_price)
        if price and pod.spot:
            price = Range(price.low, price.likely, price.high * SPOT_REPEATS)
        return replace(task, price=price, card_gib=pod.gpu_memory_gib)

    def _pod(self, stage: str, key: str | None) -> Pod:
        pod = self.profile.pod(key if stage in ("train", "evaluate") else None)
        return replace(pod, gpus=min(1, pod.gpus)) if stage == "evaluate" else pod

    def _before(self, key: str) -> tuple[str, ...]:
        """The tasks before the training of `key` that run, too."""
        keys = list(self.config.phases)
        before = [in_dvc("train", each) for each in keys[: keys.index(key)][-1:]]
        running = [name for name in before if self.fate(name).runs]
        return (*([] if self.manifest else ["build-dataset"]), *running)

    def _why(self, name: str, upstream: tuple[str, ...]) -> Fate:
        """What changed since dvc.lock was written, if that is known; else that it is not there."""
        here = self.here.get(name, Fate())
        why = here.why or (() if upstream else ("the cluster has none",))
        return Fate(why, upstream)
