"""Log the run to MLflow and, if the gate passed, register its generator."""

import os
from dataclasses import asdict
from typing import Any

from components.commit import git_commit
from components.gate.verdict import Verdict
from components.object_store.dataset import find_manifest
from components.register import pages
from components.register.comparison import comparison_link, log_comparison
from components.register.exploration import log_exploration
from components.register.finished_runs import (
    RunFiles,
    find_or_create_parent,
    log_dataset,
    log_parent,
    log_phase,
)
from components.register.model import log_model
from components.register.registration import Registration
from components.register.registry import CANDIDATE, TRAINING, WARM_START, find_version
from components.register.signature import SIGNED_BY, Signing, sign_checkpoint, sign_version
from components.signatures.signing import configured_signer
from components.tracking.client import clear_errors, client
from components.tracking.runs import STATE, set_tags, terminate
from progan.checkpoints import NETWORKS, Checkpoint, read_checkpoint
from progan.config import Config
from progan.errors import InputError
from progan.files import alone, canonical_json
from progan.history import Total


def register(config: Config, files: RunFiles, dataset: str) -> None:
    """Log the parent run and the runs of the phases; register the last generator if the verdict is passed.

    Runs and versions are found by identity, so running this again, even after it was killed, creates nothing
    twice. Writes the registration to `files.registration` (JSON).

    dataset: the address of the dataset.
    """
    verdict, signing = Verdict.read(files.verdict), configured_signer()
    _require_judged(config, files, verdict)
    out = files.registration
    lock = alone(out.with_name(f".{out.name}.lock"), "is registering this run")
    with lock, clear_errors(config.register.model):
        version, run = _register(config, files, dataset, verdict, signing)
    Registration(config.register.model, version, run).write(out)
    alias = "no alias, as it is an experiment" if _in_experiment() else f"alias {CANDIDATE}"
    outcome = f"version {version}, {alias}" if version else "nothing registered, the gate failed"
    print(f"{out}: {config.register.model}: {outcome}")


def _require_judged(config: Config, files: RunFiles, verdict: Verdict) -> None:
    """Raise InputError unless the verdict is about the last phase, as it was evaluated and lies here."""
    last = config.last_phase
    if verdict.phase != last or verdict.candidate != files.evaluation_of(last):
        raise InputError(
            f"{files.verdict}: is not about the evaluation of {last} that lies here; run progan gate, then "
            "this again"
        )
    folder = files.checkpoints / last
    if verdict.passed or folder.exists():
        checkpoint = read_checkpoint(folder, needed=[NETWORKS])
        trained = checkpoint.facts.identity, checkpoint.digest
        if trained != (verdict.candidate.identity, verdict.candidate.checkpoint):
            raise InputError(
                f"{folder}: is not the checkpoint that was evaluated; run dvc repro, then this again"
            )


def _register(
    config: Config, files: RunFiles, dataset: str, verdict: Verdict, signing: Signing | None
) -> tuple[str | None, str]:
    """Returns the version, None if none is registered, and the id of the parent run.

    An experiment of DVC changes nothing of a version that exists.
    """
    mlflow_client, commit = client(), git_commit()
    parent = find_or_create_parent(mlflow_client, config, verdict, files, commit)
    registered = find_version(mlflow_client, config.register.model, verdict.candidate.identity)
    if registered and _in_experiment():
        return str(registered.version) if verdict.passed else None, parent.info.run_id
    run, first_commit = parent.info.run_id, parent.data.tags.get("git_commit", "none")
    details = _details(
        config, files, dataset, verdict, commit if first_commit == "none" else first_commit, run
    )
    for key in config.phases:
        child = log_phase(mlflow_client, config, key, parent, files, verdict.passed)
        checkpoint = files.checkpoints / key
        if signing and verdict.passed and checkpoint.exists():
            sign_checkpoint(mlflow_client, details, key, child.info.run_id, checkpoint, signing)
        description = pages.describe_phase(details, key, child.info.run_id)
        set_tags(mlflow_client, child.info.run_id, {}, description)
        log_dataset(mlflow_client, child, details.manifest, dataset, details.evaluations[key])
    log_parent(mlflow_client, parent, config, verdict, files)
    log_dataset(mlflow_client, parent, details.manifest, dataset, verdict.candidate)
    total = Total.of(details.histories.values())
    tags = _tags(verdict, details.commit) | _warm_start_tag(config) | _training_tag(total)
    of_run = {name: tags[name] for name in ("gate", "verdict", "git_commit", WARM_START) if name in tags}
    set_tags(mlflow_client, run, of_run | {STATE: "finished"}, pages.describe_run(details))
    version = _register_version(
        mlflow_client, details, files, tags, registered and str(registered.version), signing
    )
    terminate(mlflow_client, parent, total)
    return version, run


def _details(
    config: Config, files: RunFiles, dataset: str, verdict: Verdict, commit: str, run: str
) -> pages.RunDetails:
    histories = {key: files.history_of(key) for key in config.phases}
    evaluations = {key: files.evaluation_of(key) for key in config.phases}
    return pages.RunDetails(config, verdict, find_manifest(dataset), histories, evaluations, commit, run)


def _register_version(
    mlflow_client: Any,
    details: pages.RunDetails,
    files: RunFiles,
    tags: dict[str, str],
    version: str | None,
    signing: Signing | None,
) -> str | None:
    """Create or update the `version` of a run, with tags and descriptions; returns None if the run failed.

    If the same run passed other thresholds before, its version is updated and is no candidate any more.
    """
    model, passed = details.config.register.model, details.verdict.passed
    checkpoint = files.checkpoints / details.verdict.phase
    if version is not None:
        for name, value in tags.items():
            mlflow_client.set_model_version_tag(model, version, name, value)
    elif passed:
        version = _create_version(mlflow_client, model, details, read_checkpoint(checkpoint), tags)
    else:
        return None
    if signing and checkpoint.exists():
        sign_version(mlflow_client, details, version, read_checkpoint(checkpoint), signing)
    log_comparison(mlflow_client, model, version, checkpoint, details.run)
    phases = [path for key in details.config.phases if (path := files.checkpoints / key).exists()]
    links = [
        *log_exploration(mlflow_client, model, version, phases, details.run),
        *comparison_link(mlflow_client, details.run),
    ]
    signer = mlflow_client.get_model_version(model, version).tags.get(SIGNED_BY)
    description = pages.describe_version(details, version, links, signer)
    mlflow_client.update_model_version(model, version, description)
    mlflow_client.update_registered_model(model, pages.describe_model(details))
    if passed and not _in_experiment():
        mlflow_client.set_registered_model_alias(model, CANDIDATE, version)
    elif not passed and str(mlflow_client.get_registered_model(model).aliases.get(CANDIDATE)) == version:
        mlflow_client.delete_registered_model_alias(model, CANDIDATE)
    return version if passed else None


def _in_experiment() -> bool:
    """Whether `dvc exp run` runs this; its versions get no alias before they are applied to the project."""
    return "DVC_EXP_NAME" in os.environ


def _tags(verdict: Verdict, commit: str) -> dict[str, str]:
    """The tags of a version: the evaluation with every measure, the commit and the verdict."""
    facts = asdict(verdict.candidate)
    measures = facts.pop("measures")
    judgement = {"passed": verdict.passed, "reasons": [reason.text for reason in verdict.reasons]}
    return {
        "gate": "passed" if verdict.passed else "failed",
        **{name: _text(value) for name, value in (facts | measures).items()},
        "verdict": canonical_json(judgement),
        "git_commit": commit,
    }


def _warm_start_tag(config: Config) -> dict[str, str]:
    """The tag of a warm start; empty if the run trained from scratch."""
    for key, start in config.warm_start.items():
        return {WARM_START: canonical_json({"phase": key, **asdict(start)})}
    return {}


def _training_tag(total: Total) -> dict[str, str]:
    """The tag of what the training took; empty if the weights were imported."""
    return {TRAINING: canonical_json(asdict(total))} if total.images else {}


def _text(value: float | str | None) -> str:
    """A value as people write it: a number with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _create_version(
    mlflow_client: Any, model: str, details: pages.RunDetails, checkpoint: Checkpoint, tags: dict[str, str]
) -> str:
    """A new version; or, if another process has created one meanwhile, that one."""
    import mlflow

    with mlflow.start_run(run_id=details.run):
        created = log_model(model, checkpoint, tags)
    version = str(find_version(mlflow_client, model, details.verdict.candidate.identity).version)
    if version != created:
        mlflow_client.delete_model_version(model, created)
    return version
