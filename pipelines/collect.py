"""`progan collect`: what a run on a cluster made, brought into this checkout so that dvc.lock says it.

How CI calls it: `progan collect RUN --push --md comment.md` (or `--json`). It exits with 0 when the run was
collected, whatever its verdict, which the output tells; 75 when the run has not ended; 2 when it cannot be
collected here, with one line that says why. Run again after any interruption, it goes on.
"""

import contextlib
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines import options
from progan.errors import InputError, Interrupted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.gate.verdict import Verdict
    from components.register.registration import Registration
    from components.results import Results
    from components.run_record import RunRecord
    from components.stages import Task
    from pipelines.checkout import Checkout
    from pipelines.profile import Profile
    from progan.config import Config
    from progan.dataset.manifest import Manifest


def collect(
    run: Annotated[str, typer.Argument(help="Kubeflow's id of the run, by which its results are kept too.")],
    host: Annotated[
        str | None,
        typer.Option(
            envvar="KF_PIPELINES_ENDPOINT", help="Of Kubeflow Pipelines, which is asked how the run ended."
        ),
    ] = None,
    namespace: options.Namespace = None,
    token_file: options.TokenFile = options.TOKEN_OF_POD,
    ui: options.Ui = None,
    results: Annotated[
        str | None, typer.Option(help="Where results are kept; the profile's storage.results if not given.")
    ] = None,
    push: Annotated[bool, typer.Option("--push", help="Send it to DVC's remote, too.")] = False,
    as_json: options.Json = False,
    md: Annotated[
        Path | None, typer.Option(help="Write verdict and links to this file, as Markdown.")
    ] = None,
    params: options.Params = options.PARAMS,
    profile: options.ProfileFile = options.PROFILE,
) -> None:
    """Bring what a run made here and into DVC's cache, so that dvc.lock says it and nothing is left to do.

    Refuses a run of other parameters or of another dataset than this checkout's; where it has none, the run's
    comes from the profile's storage.

    Example: progan collect 6f3c7a1e-… --host https://kubeflow.example.org/pipeline --push
    """
    from components.results import Results
    from pipelines.checkout import Checkout
    from pipelines.compile import storage_of
    from pipelines.profile import load_profile
    from pipelines.submit import address
    from progan import config

    loaded, cluster = config.load(params), load_profile(profile)
    uri = results or cluster.storage.results
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        record = _ended(uri, run, host and _state(run, host, token_file, namespace or cluster.namespace))
        here = Checkout()
        _refuse_other_parameters(run, record, loaded)
        dataset = storage_of(loaded, cluster).dataset
        manifest, brought = _bring_dataset(here, dataset, run, record, loaded)
        found = _bring(here, Results(uri), run, record, loaded, manifest)
        if push:
            here.push(found.stages)
        url = address(ui or host, run) if host else None
        found = replace(found, stages=[*brought, *found.stages], pushed=push, url=url)
    if md:
        md.write_text(_markdown(found, loaded, cluster))
    options.print_json(asdict(found)) if as_json else print(_plain(found))


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


def _state(run: str, host: str, token_file: Path, namespace: str) -> str:
    """What Kubeflow says of the run."""
    from pipelines.submit import clear_errors, connect

    with clear_errors(host):
        client, _ = connect(host, token_file, namespace)
        return str(client.get_run(run).state)


def _ended(uri: str, run: str, state: str | None) -> "RunRecord":
    """What the run keeps of itself, when it has ended; Kubeflow's word on that counts, where it was asked."""
    from components.run_record import RunRecord
    from pipelines.submit import ENDED

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
    here: "Checkout", uri: str, run: str, record: "RunRecord", config: "Config"
) -> "tuple[Manifest, list[str]]":
    """Have the run's dataset as this checkout's own; the tasks that dvc.lock then says were done.

    uri: where these parameters and photographs have theirs. Raises InputError when the run's is another one.
    """
    from components.object_store.dataset import fetch_dataset, find_manifest
    from pipelines import photographs

    is_current = not {photographs.origin(config), "build-dataset"} & set(here.stale())
    known = options.known_dataset(config, str(options.DATASET)) if is_current else None
    if known and known.digest != record.dataset:
        raise InputError(
            f"{run}: trained on the dataset {record.dataset[:12]}, not on {known.digest[:12]}, which "
            f"{options.DATASET} is; check out what was submitted"
        )
    if known:
        return known, []
    there = find_manifest(uri)
    if there is None or there.digest != record.dataset:
        raise InputError(
            f"{options.DATASET}: not known here, and {uri} has not the dataset {record.dataset[:12]} that "
            f"{run} was trained on; run dvc repro build-dataset, and collect again"
        )
    fetch_dataset(uri, there.digest, options.DATASET)
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


def _plain(found: Collected) -> str:
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


def _markdown(found: Collected, config: "Config", profile: "Profile") -> str:
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
