"""Log the run to MLflow and, when the gate passed, register its generator."""

import os
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.register.model import log_model
from components.register.registry import CANDIDATE, WARM_START, client
from components.register.runs import RunFiles, find_or_make_parent, log_parent, log_phase
from progan.config import Config
from progan.files import alone, canonical_json, read_json, write_json
from progan.snapshots import Checkpoint, read_checkpoint


def register(config: Config, files: RunFiles, out: Path) -> None:
    """Log parent and phase runs; register the last phase's generator if the verdict is passed.

    Everything is found again by fingerprint, so running this twice, or again after it was killed, makes
    no second run or version. Writes what was made to `out` (JSON).
    """
    verdict = read_json(files.verdict)
    with alone(out.with_name(f".{out.name}.lock"), "is registering this run"):
        version, run = _register(config, files, verdict)
    write_json(out, {"model": config.register.model, "version": version, "run": run})
    made = f"version {version}, alias {CANDIDATE}" if version else "nothing registered, the gate failed"
    print(f"{out}: {config.register.model}: {made}")


def _register(config: Config, files: RunFiles, verdict: dict[str, Any]) -> tuple[str | None, str]:
    """Do it; return the version, if there is one, and the parent run."""
    mlflow_client = client()
    model = config.register.model
    parent = find_or_make_parent(mlflow_client, model, verdict)
    for key in config.phases:
        log_phase(mlflow_client, config, key, parent, files)
    log_parent(mlflow_client, parent, config, verdict, files)
    tags = _tags(verdict) | _started_from(config)
    for name, value in tags.items():
        mlflow_client.set_tag(parent, name, value)
    version = None
    if verdict["passed"]:
        checkpoint = read_checkpoint(files.checkpoint)
        version = _find_or_make_version(mlflow_client, model, parent, checkpoint)
        for name, value in tags.items():
            mlflow_client.set_model_version_tag(model, version, name, value)
        mlflow_client.set_registered_model_alias(model, CANDIDATE, version)
    mlflow_client.set_terminated(parent)
    return version, parent


def _tags(verdict: dict[str, Any]) -> dict[str, str]:
    """What a version says of itself: every measure, the dataset, the commit and the verdict."""
    measures = {name: str(value) for name, value in verdict["candidate"].items()}
    judgement = {"passed": verdict["passed"], "reasons": [reason["text"] for reason in verdict["reasons"]]}
    return measures | {
        "gate": "passed" if verdict["passed"] else "failed",
        "verdict": canonical_json(judgement),
        "git_commit": _git_commit(),
    }


def _started_from(config: Config) -> dict[str, str]:
    """Whose checkpoint the first phase went on from, if it did not start from nothing."""
    for key, start in config.warm_start.items():
        return {WARM_START: canonical_json({"phase": key, **asdict(start)})}
    return {}


def _git_commit() -> str:
    """The commit that the image was built from (PROGAN_GIT_COMMIT), else the one that is checked out, "+"
    behind it when files differ from it; "none" outside git."""
    if built_from := os.environ.get("PROGAN_GIT_COMMIT"):
        return built_from
    command = ["git", "describe", "--always", "--abbrev=40", "--match=", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "none"
    except FileNotFoundError:
        return "none"


def _find_or_make_version(mlflow_client: Any, model: str, run: str, checkpoint: Checkpoint) -> str:
    """The version of `model` that holds this run's generator."""
    import mlflow

    versions = mlflow_client.search_model_versions(f"name = '{model}' and run_id = '{run}'")
    if versions:
        return str(versions[0].version)
    with mlflow.start_run(run_id=run):
        return log_model(model, checkpoint)
