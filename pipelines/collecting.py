"""What a run on a cluster made, brought into this checkout so that dvc.lock says it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from progan.errors import InputError, Interrupted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.gate.verdict import Verdict
    from components.register.registration import Registration
    from components.results import Results
    from components.run_record import RunRecord
    from components.stages import Task
    from pipelines.dvc import Checkout
    from pipelines.profile import Profile, Storage
    from progan.config import Config
    from progan.dataset.manifest import Manifest


@dataclass(frozen=True)
class Collected:
    """What was brought here, and what is to be known of the run."""

    run: str
    state: str  # in Kubeflow's words
    error: str
    phases: list[str]  # whose checkpoints came
    stages: list[str]  # that dvc.lock now says were done
    left: list[str]  # those that `dvc repro` has still to do
    verdict: "Verdict | None"
    registration: "Registration | None"
    report: str  # its address
    url: str | None = None  # Kubeflow's page of the run
    pushed: bool = False


def collect(
    run: str, uri: str, state: str | None, config: "Config", storage: "Storage", dataset: Path, push: bool
) -> Collected:
    """Bring what the run keeps in `uri` here, so that dvc.lock says it; to DVC's remote too, with `push`.

    state: how it ended, by Kubeflow, if that was asked. storage: where the cluster has the dataset of these
    parameters, which is brought to the folder `dataset` if it is not known here.
    """
    from components.results import Results
    from pipelines.dvc import Checkout

    record, here = _ended(uri, run, state), Checkout()
    _refuse_other_parameters(run, record, config)
    manifest, brought = _bring_dataset(here, storage.dataset, dataset, run, record, config)
    found = _bring(here, Results(uri), run, record, config, manifest)
    if push:
        here.push(found.stages)
    return replace(found, stages=[*brought, *found.stages], pushed=push)


def _ended(uri: str, run: str, state: str | None) -> "RunRecord":
    """What the run keeps of itself, when it has ended; Kubeflow's word on that counts, where it was asked."""
    from components.run_record import RunRecord
    from pipelines.kubeflow import ENDED

    record = RunRecord.read(uri, run)
    if record is None and state is None:
        raise InputError(f"{run}: no run of this name keeps results in {uri}; give its id, or --results")
    stands = str(state or (record and record.state))
    if stands not in ENDED:
        raise Interrupted(f"{run}: is {stands}; collect it when it has ended")
    if record is None or not record.dataset:
        raise InputError(f"{run}: {stands} before it had a dataset; there is nothing to collect")
    return replace(record, state=stands)


# ------------------------------------------------------------------------------------------------
# Whose results they are


def _refuse_other_parameters(run: str, record: "RunRecord", config: "Config") -> None:
    from components.identity import state_of
    from progan.config import to_text

    if record.params_digest != state_of(config):
        was = _first_difference(record.params, json.loads(to_text(config)))
        raise InputError(
            f"{run}: trained with other parameters than params.yaml's ({was}); check out what was submitted"
        )


def _first_difference(was: Any, now: Any, key: str = "") -> str:
    """The first key whose values, as JSON gives them, differ: "gate.swd_max: was 60, is 50"."""
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return f"{key}: was {json.dumps(was)}, is {json.dumps(now)}"
    for name in (*was, *now):
        if was.get(name) != now.get(name):
            return _first_difference(was.get(name), now.get(name), f"{key}.{name}".removeprefix("."))
    return "RESULTS_VERSION, that of the code"


# ------------------------------------------------------------------------------------------------
# The dataset


def _bring_dataset(
    here: "Checkout", uri: str, dataset: Path, run: str, record: "RunRecord", config: "Config"
) -> "tuple[Manifest, list[str]]":
    """Have the run's dataset as this checkout's own; the tasks that dvc.lock then says were done.

    uri: where these parameters and photographs have theirs. Raises InputError when the run's is another one.
    """
    from components.object_store.dataset import fetch_dataset, find_manifest
    from pipelines import photographs
    from pipelines.known_dataset import known_dataset

    is_current = not {photographs.origin(config), "build-dataset"} & set(here.stale())
    known = known_dataset(config, str(dataset)) if is_current else None
    if known and known.digest != record.dataset:
        raise InputError(
            f"{run}: trained on the dataset {record.dataset[:12]}, not on {known.digest[:12]}, which "
            f"{dataset} is; check out what was submitted"
        )
    if known:
        return known, []
    there = find_manifest(uri)
    if there is None or there.digest != record.dataset:
        raise InputError(
            f"{dataset}: not known here, and {uri} has not the dataset {record.dataset[:12]} that "
            f"{run} was trained on; run dvc repro build-dataset, and collect again"
        )
    fetch_dataset(uri, there.digest, dataset)
    made = _made_dataset(here, config)
    here.claim(made)
    return there, made


def _made_dataset(here: "Checkout", config: "Config") -> list[str]:
    """The stages that make the dataset; none where it is for DVC to find out what its photographs are."""
    from components.paint.stage import paint
    from pipelines import photographs

    origin, name = photographs.origin(config), photographs.painted(config)
    if origin and origin not in here.stale():
        return ["build-dataset"]
    if name:
        paint(config, name, Path(config.dataset.path))
        return [origin, "build-dataset"]
    print(f"{config.dataset.path}: not photographs that DVC knows; build-dataset is left to dvc repro")
    return []


# ------------------------------------------------------------------------------------------------
# Into place, and into dvc.lock


def _bring(
    here: "Checkout",
    results: "Results",
    run: str,
    record: "RunRecord",
    config: "Config",
    manifest: "Manifest",
) -> Collected:
    """Lay out what the run made as `dvc repro` would have, and let dvc.lock say so."""
    from components import stages
    from components.gate.verdict import Verdict
    from components.register.registration import Registration
    from components.results import trace

    brought: dict[str, Task] = {}
    digests: dict[str, str] = {}
    for found in trace(config, manifest, results):
        if found.receipt and found.identity and results.bring(found.task, found.identity, Path()):
            brought[found.task.name] = found.task
            digests |= found.receipt.digests
    verdict = _of_run(results, stages.task(config, "gate"), run, Verdict)
    registration = _of_run(results, stages.task(config, "register"), run, Registration)
    last = stages.task(config, "train", config.last_phase)
    if verdict and verdict.candidate.checkpoint == digests.get(last.outputs[0].path):
        brought |= _bring_what_every_run_does(results, run, config, brought)
    here.claim(list(brought))
    return Collected(
        run=run,
        state=record.state,
        error=record.error,
        phases=[str(task.key) for task in brought.values() if task.stage == "train"],
        stages=list(brought),
        left=here.stale(),
        verdict=verdict,
        registration=registration,
        report=f"{results.uri}/runs/{run}/report/report.html",
    )


def _bring_what_every_run_does(
    results: "Results", run: str, config: "Config", brought: "Mapping[str, Task]"
) -> "dict[str, Task]":
    """Verdict, registration and report, each if all that it was made of has come."""
    from components import stages

    every, found = stages.tasks(config), dict(brought)
    for task in every:
        if task.run == "always":
            made_of = {each.name for each in stages.before(task, every)} - {"build-dataset"}
            if made_of <= found.keys() and results.bring(task, run, Path()):
                found[task.name] = task
    return found


def _of_run(results: "Results", task: "Task", run: str, kind: Any) -> Any:
    """What a task of the run wrote; None when it wrote nothing."""
    with TemporaryDirectory() as folder:
        found = results.bring(task, run, Path(folder))
        return kind.read(Path(folder, task.outputs[0].path)) if found else None


# ------------------------------------------------------------------------------------------------
# What is told


def as_text(found: Collected) -> str:
    lines = [f"{found.run}: {found.state} {found.error}".rstrip(), *_judgement(found)]
    lines.append(f"collected: {', '.join(found.phases) or 'no finished phase'}")
    lines.append(f"left for dvc repro: {', '.join(found.left) or 'nothing'}")
    lines.append(f"report: {found.report}")
    if not found.pushed:
        lines.append("dvc push sends it to the remote, git commit dvc.lock tells the others")
    return "\n".join(lines)


def _judgement(found: Collected) -> list[str]:
    """The verdict and its reasons, a line each."""
    if found.verdict is None:
        return ["no verdict was reached"]
    passed = "passed" if found.verdict.passed else "failed"
    reasons = (f"  {reason}" for reason in found.verdict.reasons)
    return [f"{found.verdict.phase}: the gate {passed}", *reasons]


def as_markdown(found: Collected, config: "Config", profile: "Profile") -> str:
    """A comment for a pull request."""
    first, *reasons = _judgement(found)
    version = found.registration and found.registration.version
    model = f"{config.register.model} version {version}"
    page = f"{profile.mlflow.rstrip('/')}/#/models/{config.register.model}/versions/{version}"
    run = f"[{found.run}]({found.url})" if found.url else found.run
    lines = [
        f"### {config.register.model}: {first}",
        "",
        *(f"- {reason.strip()}" for reason in reasons),
        "",
        f"- registered: [{model}]({page})" if version else "- nothing was registered",
        f"- run: {run}, {found.state} {found.error}".rstrip(),
        f"- collected: {', '.join(found.phases) or 'no finished phase'}",
        f"- left for `dvc repro`: {', '.join(found.left) or 'nothing'}",
        f"- report: `{found.report}`",
    ]
    return "\n".join(lines) + "\n"
