"""Log the run to MLflow and, if the gate passed, register its generator."""

from dataclasses import asdict
from typing import Any

from components.commit import git_commit
from components.gate.verdict import Verdict
from components.object_store.dataset import find_manifest
from components.register import pages
from components.register.metrics import milliseconds
from components.register.mlflow_registry import CANDIDATE, WARM_START, clear_errors, client
from components.register.model import log_model
from components.register.registration import Registration
from components.register.runs import (
    RunFiles,
    find_or_create_parent,
    log_dataset,
    log_parent,
    log_phase,
    set_description,
)
from progan.checkpoints import Checkpoint, read_checkpoint
from progan.config import Config
from progan.files import alone, canonical_json


def register(config: Config, files: RunFiles, dataset: str) -> None:
    """Log the parent run and the runs of the phases; register the last generator if the verdict is passed.

    Runs and versions are found by identity, so running this again, even after it was killed, creates nothing
    twice. Writes the registration to `files.registration` (JSON).

    dataset: the address of the dataset.
    """
    verdict = Verdict.read(files.verdict)
    out = files.registration
    lock = alone(out.with_name(f".{out.name}.lock"), "is registering this run")
    with lock, clear_errors(config.register.model):
        version, run = _register(config, files, dataset, verdict)
    Registration(config.register.model, version, run).write(out)
    outcome = f"version {version}, alias {CANDIDATE}" if version else "nothing registered, the gate failed"
    print(f"{out}: {config.register.model}: {outcome}")


def _register(config: Config, files: RunFiles, dataset: str, verdict: Verdict) -> tuple[str | None, str]:
    """Returns the version, None if none is registered, and the parent run."""
    mlflow_client, commit = client(), git_commit()
    parent = find_or_create_parent(mlflow_client, config, verdict, files, commit)
    first_commit = mlflow_client.get_run(parent).data.tags.get("git_commit", "none")
    commit = commit if first_commit == "none" else first_commit
    details = _details(config, files, dataset, verdict, commit, parent)
    phases = {
        key: log_phase(mlflow_client, config, key, parent, files, verdict.passed) for key in config.phases
    }
    log_parent(mlflow_client, parent, config, verdict, files)
    set_description(mlflow_client, parent, pages.describe_run(details))
    for key, run in phases.items():
        set_description(mlflow_client, run, pages.describe_phase(details, key, run))
    if details.manifest:
        log_dataset(mlflow_client, parent, details.manifest, dataset, details.resolution)
        for key, run in phases.items():
            log_dataset(mlflow_client, run, details.manifest, dataset, config.phase(key).resolution)
    tags = _tags(verdict, commit) | _warm_start_tag(config)
    for name in ("gate", "verdict", "git_commit", WARM_START):
        if name in tags:
            mlflow_client.set_tag(parent, name, tags[name])
    version = _register_version(mlflow_client, details, files, tags)
    mlflow_client.set_terminated(parent, end_time=milliseconds(details.histories[config.last_phase].ended))
    return version, parent


def _details(
    config: Config, files: RunFiles, dataset: str, verdict: Verdict, commit: str, run: str
) -> pages.RunDetails:
    histories = {key: files.history_of(key) for key in config.phases}
    evaluations = {key: files.evaluation_of(key) for key in config.phases}
    return pages.RunDetails(config, verdict, find_manifest(dataset), histories, evaluations, commit, run)


def _register_version(
    mlflow_client: Any, details: pages.RunDetails, files: RunFiles, tags: dict[str, str]
) -> str | None:
    """Create the version of a run that passed, with tags and descriptions; returns None for one that failed.

    If the same run passed other thresholds before, its version is updated and is no candidate any more.
    """
    model, passed = details.config.register.model, details.verdict.passed
    version = _find_version(mlflow_client, model, details.run)
    if version is None and passed:
        checkpoint = read_checkpoint(files.checkpoints / details.verdict.phase)
        version = _create_version(model, details.run, checkpoint)
    if version is None:
        return None
    for name, value in tags.items():
        mlflow_client.set_model_version_tag(model, version, name, value)
    mlflow_client.update_model_version(model, version, pages.describe_version(details, version))
    mlflow_client.update_registered_model(model, pages.describe_model(details))
    if passed:
        mlflow_client.set_registered_model_alias(model, CANDIDATE, version)
    elif str(mlflow_client.get_registered_model(model).aliases.get(CANDIDATE)) == version:
        mlflow_client.delete_registered_model_alias(model, CANDIDATE)
    return version if passed else None


def _tags(verdict: Verdict, commit: str) -> dict[str, str]:
    """The tags of a version: the evaluation with every measure, the commit and the verdict."""
    facts = asdict(verdict.candidate)
    measures = facts.pop("measures")
    judgement = {"passed": verdict.passed, "reasons": [reason.text for reason in verdict.reasons]}
    return {
        "gate": "passed" if verdict.passed else "failed",
        **{name: str(value) for name, value in (facts | measures).items()},
        "verdict": canonical_json(judgement),
        "git_commit": commit,
    }


def _warm_start_tag(config: Config) -> dict[str, str]:
    """The tag of a warm start; empty if the run trained from scratch."""
    for key, start in config.warm_start.items():
        return {WARM_START: canonical_json({"phase": key, **asdict(start)})}
    return {}


def _find_version(mlflow_client: Any, model: str, run: str) -> str | None:
    """The version of `model` that holds this run's generator."""
    versions = mlflow_client.search_model_versions(f"name = '{model}' and run_id = '{run}'")
    return str(versions[0].version) if versions else None


def _create_version(model: str, run: str, checkpoint: Checkpoint) -> str:
    import mlflow

    with mlflow.start_run(run_id=run):
        return log_model(model, checkpoint)
