"""`progan collect`: what a run on a cluster made, brought into this checkout so that dvc.lock says it.

How CI calls it: `progan collect RUN --push --md comment.md` (or `--json`). It exits with 0 when the run was
collected, whatever its verdict, which the output tells; 75 when the run has not ended; 2 when it cannot be
collected here, with one line that says why. Run again after any interruption, it goes on.
"""

import contextlib
import json
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines import options
from progan.errors import InputError, Interrupted

if TYPE_CHECKING:
    from components.gate.verdict import Verdict
    from components.register.registration import Registration
    from pipelines.checkout import Checkout
    from pipelines.profile import Profile
    from progan.config import Config

SCORE_NETWORK, VERDICT, REGISTRATION = Path("score_network"), Path("verdict.json"), Path("registration.json")


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
    from pipelines.checkout import Checkout
    from pipelines.compile import storage_of
    from pipelines.profile import load_profile
    from pipelines.submit import address
    from progan import config

    loaded, cluster = config.load(params), load_profile(profile)
    uri = results or cluster.storage.results
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        facts = _ended(uri, run, host and _state(run, host, token_file, namespace or cluster.namespace))
        here = Checkout()
        _refuse_other_parameters(run, facts, loaded)
        brought = _bring_dataset(here, storage_of(loaded, cluster).dataset, run, facts, loaded)
        found = _bring(here, uri, run, facts, loaded)
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


def _ended(uri: str, run: str, state: str | None) -> dict[str, Any]:
    """What the run keeps of itself, when it has ended; Kubeflow's word on that counts, where it was asked."""
    from components.results import run_facts
    from pipelines.submit import ENDED

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
    here: "Checkout", uri: str, run: str, facts: dict[str, Any], config: "Config"
) -> list[str]:
    """Have the run's dataset as this checkout's own; the stages that dvc.lock then says were done.

    uri: where these parameters and photographs have theirs. Raises InputError when the run's is another one.
    """
    from components.object_store.dataset import fetch_dataset, find_manifest
    from pipelines import photographs

    is_current = not {photographs.origin(config), "build-dataset"} & set(here.stale())
    known = options.known_dataset(config, str(options.DATASET)) if is_current else None
    if known and known.digest != facts["dataset"]:
        raise InputError(
            f"{run}: trained on the dataset {facts['dataset'][:12]}, not on {known.digest[:12]}, which "
            f"{options.DATASET} is; check out what was submitted"
        )
    if known:
        return []
    there = find_manifest(uri)
    if there is None or there.digest != facts["dataset"]:
        raise InputError(
            f"{options.DATASET}: not known here, and {uri} has not the dataset {facts['dataset'][:12]} that "
            f"{run} was trained on; run dvc repro build-dataset, and collect again"
        )
    fetch_dataset(uri, there.digest, options.DATASET)
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
    from components.gate.verdict import Verdict
    from components.register.registration import Registration
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
        verdict = Verdict.read(small / VERDICT) if (small / VERDICT).exists() else None
        registered = small / REGISTRATION
        registration = Registration.read(registered) if registered.exists() else None
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
    from components.evaluate.evaluation import Evaluation
    from components.results import opened

    evaluation = Path("evaluation", f"{key}.json")
    pictures = [Path("samples", name) for name in (f"{key}.png", f"{key}-nearest.png")]
    if not (small / evaluation).exists():
        return False
    if Evaluation.read(small / evaluation).checkpoint != opened(Path("checkpoints", key)).digest:
        return False
    _place(small, evaluation, *pictures)
    return True


def _place_judgement(config: "Config", small: Path, reported: bool) -> list[str]:
    """Put verdict and registration into place; the stages that made them, and the report if it came."""
    from components.gate.verdict import Verdict
    from components.results import opened

    last = opened(Path("checkpoints", config.last_phase)).digest
    if not (small / VERDICT).exists() or Verdict.read(small / VERDICT).candidate.checkpoint != last:
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
