"""Log the run to MLflow and, when the gate passed, register its generator."""

from dataclasses import asdict
from typing import Any

from components.commit import git_commit
from components.gate.verdict import Verdict
from components.object_store.dataset import find_manifest
from components.register import pages
from components.register.metrics import milliseconds
from components.register.model import log_model
from components.register.registration import Registration
from components.register.registry import CANDIDATE, WARM_START, clear_errors, client
from components.register.runs import (
    RunFiles,
    describe_run,
    find_or_make_parent,
    log_dataset,
    log_parent,
    log_phase,
)
from progan.checkpoints import Checkpoint, read_checkpoint
from progan.config import Config
from progan.files import alone, canonical_json


def register(config: Config, files: RunFiles, dataset: str) -> None:
    """Log parent and phase runs; register the last phase's generator if the verdict is passed.

    Everything is found again by identity, so running this twice, or again after it was killed, makes
    no second run or version. Writes what was made to `files.registration` (JSON).

    dataset: the address of what it was trained with.
    """
    verdict = Verdict.read(files.verdict)
    out = files.registration
    waiting = alone(out.with_name(f".{out.name}.lock"), "is registering this run")
    with waiting, clear_errors(config.register.model):
        version, run = _register(config, files, dataset, verdict)
    Registration(config.register.model, version, run).write(out)
    made = f"version {version}, alias {CANDIDATE}" if version else "nothing registered, the gate failed"
    print(f"{out}: {config.register.model}: {made}")


def _register(config: Config, files: RunFiles, dataset: str, verdict: Verdict) -> tuple[str | None, str]:
    """Do it; return the version, if one is registered, and the parent run."""
    mlflow_client, commit = client(), git_commit()
    parent = find_or_make_parent(mlflow_client, config, verdict, files, commit)
    noted = mlflow_client.get_run(parent).data.tags.get("git_commit", "none")
    commit = commit if noted == "none" else noted  # that of the first time, not of a later registration
    story = _story(config, files, dataset, verdict, commit, parent)
    phases = {
        key: log_phase(mlflow_client, config, key, parent, files, verdict.passed) for key in config.phases
    }
    log_parent(mlflow_client, parent, config, verdict, files)
    describe_run(mlflow_client, parent, pages.of_run(story))
    for key, run in phases.items():
        describe_run(mlflow_client, run, pages.of_phase(story, key, run))
    if story.manifest:
        log_dataset(mlflow_client, parent, story.manifest, dataset, story.resolution)
        for key, run in phases.items():
            log_dataset(mlflow_client, run, story.manifest, dataset, config.phase(key).resolution)
    tags = _tags(verdict, commit) | _warm_start_tag(config)
    for name in ("gate", "verdict", "git_commit", WARM_START):
        if name in tags:
            mlflow_client.set_tag(parent, name, tags[name])
    version = _register_version(mlflow_client, story, files, tags)
    mlflow_client.set_terminated(parent, end_time=milliseconds(story.histories[config.last_phase].ended))
    return version, parent


def _story(
    config: Config, files: RunFiles, dataset: str, verdict: Verdict, commit: str, run: str
) -> pages.RunStory:
    histories = {key: files.history_of(key) for key in config.phases}
    evaluations = {key: files.evaluation_of(key) for key in config.phases}
    return pages.RunStory(config, verdict, find_manifest(dataset), histories, evaluations, commit, run)


def _register_version(
    mlflow_client: Any, story: pages.RunStory, files: RunFiles, tags: dict[str, str]
) -> str | None:
    """Make the version of a run that passed, and let it say what it is; None when the run failed.

    A version of the same run that passed other thresholds before learns that it failed, and is no
    candidate any more.
    """
    model, passed = story.config.register.model, story.verdict.passed
    version = _find_version(mlflow_client, model, story.run)
    if version is None and passed:
        version = _make_version(model, story.run, read_checkpoint(files.checkpoints / story.verdict.phase))
    if version is None:
        return None
    for name, value in tags.items():
        mlflow_client.set_model_version_tag(model, version, name, value)
    mlflow_client.update_model_version(model, version, pages.of_version(story, version))
    mlflow_client.update_registered_model(model, pages.of_model(story))
    if passed:
        mlflow_client.set_registered_model_alias(model, CANDIDATE, version)
    elif str(mlflow_client.get_registered_model(model).aliases.get(CANDIDATE)) == version:
        mlflow_client.delete_registered_model_alias(model, CANDIDATE)
    return version if passed else None


def _tags(verdict: Verdict, commit: str) -> dict[str, str]:
    """What a version says of itself: every measure, what they are of, the commit and the verdict."""
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
    """Whose checkpoint the first phase went on from, if it did not start from nothing."""
    for key, start in config.warm_start.items():
        return {WARM_START: canonical_json({"phase": key, **asdict(start)})}
    return {}


def _find_version(mlflow_client: Any, model: str, run: str) -> str | None:
    """The version of `model` that holds this run's generator."""
    versions = mlflow_client.search_model_versions(f"name = '{model}' and run_id = '{run}'")
    return str(versions[0].version) if versions else None


def _make_version(model: str, run: str, checkpoint: Checkpoint) -> str:
    import mlflow

    with mlflow.start_run(run_id=run):
        return log_model(model, checkpoint)
