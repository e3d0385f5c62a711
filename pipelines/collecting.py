"""What a run on a cluster made, brought into this checkout so that dvc.lock says it."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from progan.errors import InputError, Interrupted

if TYPE_CHECKING:
    from pipelines.dvc import Checkout
    from pipelines.profile import Profile, Storage
    from progan.config import Config

SCORE_NETWORK, VERDICT, REGISTRATION = Path("score_network"), Path("verdict.json"), Path("registration.json")


@dataclass(frozen=True)
class Collected:
    """What was brought here, and what is to be known of the run."""

    run: str
    state: str  # in Kubeflow's words
    error: str
    phases: list[str]  # whose checkpoints came
    stages: list[str]  # that dvc.lock now says were done
    left: list[str]  # those that `dvc repro` has still to do
    verdict: dict[str, Any] | None
    registration: dict[str, Any] | None
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
    from pipelines.dvc import Checkout

    facts = _ended(uri, run, state)
    here = Checkout()
    _refuse_other_parameters(run, facts, config)
    brought = _bring_dataset(here, storage.dataset, dataset, run, facts, config)
    found = _bring(here, uri, run, facts, config)
    if push:
        here.push(found.stages)
    return replace(found, stages=[*brought, *found.stages], pushed=push)


def _ended(uri: str, run: str, state: str | None) -> dict[str, Any]:
    """What the run keeps of itself, when it has ended; Kubeflow's word on that counts, where it was asked."""
    from components.results import run_facts
    from pipelines.kubeflow import ENDED

    facts = run_facts(uri, run)
    if facts is None and state is None:
        raise InputError(f"{run}: no run of this name keeps results in {uri}; give its id, or --results")
    facts = facts or {"dataset": ""}
    facts |= {"state": state or facts["state"]}
    if facts["state"] not in ENDED:
        raise Interrupted(f"{run}: is {facts['state']}; collect it when it has ended")
    if not facts["dataset"]:
        raise InputError(f"{run}: {facts['state']} before it had a dataset; there is nothing to collect")
    return facts


# ------------------------------------------------------------------------------------------------
# Whose results they are


def _refuse_other_parameters(run: str, facts: dict[str, Any], config: "Config") -> None:
    from components import digests
    from progan.config import to_text

    if facts["params_digest"] != digests.all_params(config):
        was = _first_difference(facts["params"], json.loads(to_text(config)))
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
    here: "Checkout", uri: str, dataset: Path, run: str, facts: dict[str, Any], config: "Config"
) -> list[str]:
    """Have the run's dataset as this checkout's own; the stages that dvc.lock then says were done.

    uri: where these parameters and photographs have theirs. Raises InputError when the run's is another one.
    """
    from components.object_store.dataset import fetch_dataset, find_manifest
    from pipelines import photographs
    from pipelines.known_dataset import known_dataset

    is_current = not {photographs.origin(config), "build-dataset"} & set(here.stale())
    known = known_dataset(config, str(dataset)) if is_current else None
    if known and known.digest != facts["dataset"]:
        raise InputError(
            f"{run}: trained on the dataset {facts['dataset'][:12]}, not on {known.digest[:12]}, which "
            f"{dataset} is; check out what was submitted"
        )
    if known:
        return []
    there = find_manifest(uri)
    if there is None or there.digest != facts["dataset"]:
        raise InputError(
            f"{dataset}: not known here, and {uri} has not the dataset {facts['dataset'][:12]} that "
            f"{run} was trained on; run dvc repro build-dataset, and collect again"
        )
    fetch_dataset(uri, there.digest, dataset)
    made = _made_dataset(here, config)
    here.claim(made)
    return made


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


def _bring(here: "Checkout", uri: str, run: str, facts: dict[str, Any], config: "Config") -> Collected:
    """Lay out what the run made as `dvc repro` would have, and let dvc.lock say so."""
    from components.results import Results

    kept = Results(uri, config, facts["dataset"], run)
    with TemporaryDirectory() as name:
        small = Path(name)
        kept.gather(small)
        stages = [f"warm-start@{key}" for key in config.warm_start if _fetch_start(config, key)]
        phases = list(kept.gather_checkpoints(Path()))
        measured = [key for key in phases if _place_evaluation(key, small)]
        stages += [f"train@{key}" for key in phases]
        fetched = [kept.fetch_of_run(file) for file in here.outputs("report")]
        if kept.fetch_score_network(SCORE_NETWORK):
            stages += ["score-network", *(f"evaluate@{key}" for key in measured)]
            if measured == list(config.phases):
                stages += _place_judgement(config, small, all(fetched))
        verdict, registration = (_read(small / file.name) for file in (VERDICT, REGISTRATION))
    here.claim(stages)
    report = f"{uri}/runs/{run}/report.html"
    ended = run, facts["state"], facts["error"]
    return Collected(*ended, phases, stages, here.stale(), verdict, registration, report)


def _fetch_start(config: "Config", key: str) -> bool:
    """Put the registered checkpoint that the run started from into place, if it is not there."""
    from components.results import opened
    from components.warm_start.stage import warm_start
    from progan.snapshots import FACTS

    folder = Path("checkpoints", key)
    if not (folder / FACTS).exists() or opened(folder).digest != config.warm_start[key].checkpoint:
        warm_start(config, key, folder)
    return True


def _place_evaluation(key: str, small: Path) -> bool:
    """Put the measures and samples of a phase into place, if they are of the checkpoint that came."""
    from components.results import opened

    evaluation = Path("evaluation", f"{key}.json")
    pictures = [Path("samples", name) for name in (f"{key}.png", f"{key}-nearest.png")]
    found = _read(small / evaluation)
    if found is None or found["checkpoint"] != opened(Path("checkpoints", key)).digest:
        return False
    _place(small, evaluation, *pictures)
    return True


def _place_judgement(config: "Config", small: Path, reported: bool) -> list[str]:
    """Put verdict and registration into place; the stages that made them, and the report if it came."""
    from components.results import opened

    verdict = _read(small / VERDICT)
    last = opened(Path("checkpoints", config.last_phase)).digest
    if verdict is None or verdict["candidate"]["checkpoint"] != last:
        return []
    if not (small / REGISTRATION).exists():
        _place(small, VERDICT)
        return ["gate"]
    _place(small, VERDICT, REGISTRATION)
    return ["gate", "register", *(["report"] if reported else [])]


def _place(folder: Path, *files: Path) -> None:
    """Copy `files` from `folder` to where they belong."""
    from progan.files import atomic_file

    for file in files:
        with atomic_file(file) as beside:
            shutil.copyfile(folder / file, beside)


def _read(file: Path) -> Any:
    """The JSON in `file`; None when there is no file."""
    from progan.files import read_json

    return read_json(file) if file.exists() else None


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
    passed = "passed" if found.verdict["passed"] else "failed"
    reasons = (f"{'✓' if reason['passed'] else '✗'} {reason['text']}" for reason in found.verdict["reasons"])
    return [f"{found.verdict['phase']}: the gate {passed}", *(f"  {reason}" for reason in reasons)]


def as_markdown(found: Collected, config: "Config", profile: "Profile") -> str:
    """A comment for a pull request."""
    first, *reasons = _judgement(found)
    version = (found.registration or {}).get("version")
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
