"""Collect the results of a run on a cluster: bring them into this checkout and record them in dvc.lock."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components import stages
from components.gate.verdict import Verdict
from components.identity import state_of
from components.object_store.dataset import fetch_dataset, find_manifest
from components.paint.stage import paint
from components.register.registration import Registration
from components.results import Results, trace
from components.run_record import RunRecord
from components.stages import Task
from pipelines import photographs
from pipelines.dvc import Checkout
from pipelines.known_dataset import known_dataset
from pipelines.kubeflow import ENDED
from pipelines.profile import Profile, Storage
from progan.config import Config, to_text
from progan.dataset.manifest import Manifest
from progan.errors import InputError, Interrupted


@dataclass(frozen=True)
class Collected:
    """The results that were brought here, and how the run ended."""

    run: str
    state: str  # as Kubeflow calls it
    error: str
    phases: list[str]  # those whose checkpoints were brought
    stages: list[str]  # recorded in dvc.lock
    left: list[str]  # still to be done by `dvc repro`
    verdict: Verdict | None
    registration: Registration | None
    report: str  # its address
    url: str | None = None  # of the run's page in Kubeflow
    pushed: bool = False


def collect(
    run: str, uri: str, state: str | None, config: Config, storage: Storage, dataset: Path, push: bool
) -> Collected:
    """Bring the run's results from `uri` here, record them in dvc.lock and, with `push`, push them.

    state: the run's state according to Kubeflow, if Kubeflow was asked. storage: the cluster's storage; its
    dataset is fetched to the folder `dataset` if this checkout does not know it. Running again after an
    interruption goes on.
    """
    record, checkout = _record_of_ended(uri, run, state), Checkout()
    _refuse_other_parameters(run, record, config)
    manifest, dataset_stages = _bring_dataset(checkout, storage.dataset, dataset, run, record, config)
    collected = _bring_results(checkout, Results(uri), run, record, config, manifest)
    if push:
        checkout.push(collected.stages)
    return replace(collected, stages=[*dataset_stages, *collected.stages], pushed=push)


def _record_of_ended(uri: str, run: str, state: str | None) -> RunRecord:
    """The record of a run that has ended, with its state according to Kubeflow if that is given."""
    record = RunRecord.read(uri, run)
    if record is None and state is None:
        raise InputError(f"{run}: no results of such a run in {uri}; give Kubeflow's id of it, or --results")
    state = str(state or (record and record.state))
    if state not in ENDED:
        raise Interrupted(f"{run}: is {state}; collect it when it has ended")
    if record is None or not record.dataset:
        raise InputError(f"{run}: {state} before it had a dataset; there is nothing to collect")
    return replace(record, state=state)


# ------------------------------------------------------------------------------------------------
# Is it a run of this checkout?


def _refuse_other_parameters(run: str, record: RunRecord, config: Config) -> None:
    if record.params_digest != state_of(config):
        difference = _first_difference(record.params, json.loads(to_text(config)))
        raise InputError(
            f"{run}: trained with parameters other than params.yaml's ({difference}); check out the commit "
            "that was submitted"
        )


def _first_difference(was: Any, now: Any, key: str = "") -> str:
    """The first key whose values differ: "gate.swd_max: was 60, is 50"."""
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return f"{key}: was {json.dumps(was)}, is {json.dumps(now)}"
    for name in (*was, *now):
        if was.get(name) != now.get(name):
            return _first_difference(was.get(name), now.get(name), f"{key}.{name}".removeprefix("."))
    return "the code's RESULTS_VERSION"


# ------------------------------------------------------------------------------------------------
# The dataset


def _bring_dataset(
    checkout: Checkout, uri: str, dataset: Path, run: str, record: RunRecord, config: Config
) -> tuple[Manifest, list[str]]:
    """The manifest of the run's dataset, fetched if need be; and the stages recorded in dvc.lock for it.

    uri: the address of the dataset of these parameters and photographs on the cluster. Raises InputError if
    the run was trained on another one.
    """
    is_current = not {photographs.origin(config), "build-dataset"} & set(checkout.stale())
    known = known_dataset(config, str(dataset)) if is_current else None
    if known and known.digest != record.dataset:
        raise InputError(
            f"{run}: trained on the dataset {record.dataset[:12]}, but {dataset} is {known.digest[:12]}; "
            "check out the commit that was submitted"
        )
    if known:
        return known, []
    manifest = find_manifest(uri)
    if manifest is None or manifest.digest != record.dataset:
        raise InputError(
            f"{dataset}: not built here, and {uri} is not the dataset {record.dataset[:12]} that {run} was "
            "trained on; run dvc repro build-dataset, and collect again"
        )
    fetch_dataset(uri, manifest.digest, dataset)
    dataset_stages = _dataset_stages(checkout, config)
    checkout.record(dataset_stages)
    return manifest, dataset_stages


def _dataset_stages(checkout: Checkout, config: Config) -> list[str]:
    """The stages to record for the dataset; none if DVC does not know its photographs. Paints toy ones."""
    origin, name = photographs.origin(config), photographs.painted(config)
    if origin and origin not in checkout.stale():
        return ["build-dataset"]
    if name:
        paint(config, name, Path(config.dataset.path))
        return [origin, "build-dataset"]
    print(f"{config.dataset.path}: not tracked by DVC; build-dataset is left to dvc repro")
    return []


# ------------------------------------------------------------------------------------------------
# The results


def _bring_results(
    checkout: Checkout,
    results: Results,
    run: str,
    record: RunRecord,
    config: Config,
    manifest: Manifest,
) -> Collected:
    """Lay out the run's results as `dvc repro` would, and record them in dvc.lock."""
    brought: dict[str, Task] = {}
    digests: dict[str, str] = {}
    for step in trace(config, manifest, results):
        if step.receipt and step.identity and results.bring(step.task, step.identity, Path()):
            brought[step.task.name] = step.task
            digests |= step.receipt.digests
    verdict = _of_run(results, stages.task(config, "gate"), run, Verdict)
    registration = _of_run(results, stages.task(config, "register"), run, Registration)
    last = stages.task(config, "train", config.last_phase)
    if verdict and verdict.candidate.checkpoint == digests.get(last.outputs[0].path):
        brought |= _bring_repeated(results, run, config, brought)
    checkout.record(list(brought))
    return Collected(
        run=run,
        state=record.state,
        error=record.error,
        phases=[str(task.key) for task in brought.values() if task.stage == "train"],
        stages=list(brought),
        left=checkout.stale(),
        verdict=verdict,
        registration=registration,
        report=f"{results.uri}/runs/{run}/report/report.html",
    )


def _bring_repeated(
    results: Results, run: str, config: Config, brought: Mapping[str, Task]
) -> dict[str, Task]:
    """`brought`, and the tasks that every run repeats, each if the results that it reads were brought."""
    tasks, brought = stages.tasks(config), dict(brought)
    for task in tasks:
        if task.run == "always":
            read = {other.name for other in stages.before(task, tasks)} - {"build-dataset"}
            if read <= brought.keys() and results.bring(task, run, Path()):
                brought[task.name] = task
    return brought


def _of_run(results: Results, task: Task, run: str, kind: Any) -> Any:
    """The output of a task that every run repeats; None if the run did not get there."""
    with TemporaryDirectory() as folder:
        exists = results.bring(task, run, Path(folder))
        return kind.read(Path(folder, task.outputs[0].path)) if exists else None


# ------------------------------------------------------------------------------------------------
# How it is shown


def as_text(collected: Collected) -> str:
    lines = [f"{collected.run}: {_end(collected)}", *_judgement(collected)]
    lines.append(f"collected: {', '.join(collected.phases) or 'no finished phase'}")
    lines.append(f"left for dvc repro: {', '.join(collected.left) or 'nothing'}")
    lines.append(f"report: {collected.report}")
    if not collected.pushed:
        lines.append("to share it: dvc push, and git commit dvc.lock")
    return "\n".join(lines)


def _end(collected: Collected) -> str:
    end = f"{collected.state} {collected.error}".rstrip()
    return end if collected.state == "SUCCEEDED" else f"{end}; progan submit goes on from what there is"


def _judgement(collected: Collected) -> list[str]:
    """The verdict and its reasons, a line each."""
    verdict = collected.verdict
    if verdict is None:
        return ["no verdict was reached"]
    outcome = "passed" if verdict.passed else "failed"
    return [f"{verdict.phase}: the gate {outcome}", *(f"  {reason}" for reason in verdict.reasons)]


def as_markdown(collected: Collected, config: Config, profile: Profile) -> str:
    """A comment for a pull request."""
    first, *reasons = _judgement(collected)
    version = collected.registration and collected.registration.version
    model = f"{config.register.model} version {version}"
    page = f"{profile.mlflow.rstrip('/')}/#/models/{config.register.model}/versions/{version}"
    run = f"[{collected.run}]({collected.url})" if collected.url else collected.run
    lines = [
        f"### {config.register.model}: {first}",
        "",
        *(f"- {reason.strip()}" for reason in reasons),
        "",
        f"- registered: [{model}]({page})" if version else "- nothing was registered",
        f"- run: {run}, {_end(collected)}",
        f"- collected: {', '.join(collected.phases) or 'no finished phase'}",
        f"- left for `dvc repro`: {', '.join(collected.left) or 'nothing'}",
        f"- report: `{collected.report}`",
    ]
    return "\n".join(lines) + "\n"
