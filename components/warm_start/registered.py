"""Checkpoints of registered versions: each phase's is an artifact of its MLflow run (components/register)."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.register.registry import CHAMPION, WARM_START, find_champion
from components.tracking.artifacts import download
from components.tracking.client import clear_errors, client
from components.tracking.runs import CHECKPOINT, phase_runs
from progan.checkpoints import FACTS, Checkpoint, read_checkpoint
from progan.config import Config, WarmStart
from progan.errors import InputError
from progan.models import require_network


def of_champion(config: Config, key: str) -> WarmStart:
    """The champion's checkpoint of the phase `key`, as the value of `warm_start.<key>` in params.yaml.

    Raises InputError if there is no champion, or it has no such checkpoint, or one of other networks.
    """
    model = config.register.model
    champion = find_champion(model)
    if champion is None:
        raise InputError(f"{model}: no version is {CHAMPION}; promote one, then start from it")
    version = champion.version
    with clear_errors(model):
        checkpoint = _facts(find_run(model, version, key), f"{model} version {version}, {key}")
    require_network(checkpoint, config.network)
    return WarmStart(model, version, checkpoint.digest)


def find_run(model: str, version: str, key: str) -> str:
    """The id of the run that has the checkpoint of the phase `key` of a version.

    If the version was warm-started after `key`, that is a run of the version it started from.
    """
    registry = client()
    for ancestor in _ancestry(registry, model, version):
        for run in phase_runs(registry, ancestor.run_id, key):
            if registry.list_artifacts(run.info.run_id, CHECKPOINT):
                return run.info.run_id
    raise InputError(
        f"{model} version {version}: has no checkpoint of {key} in MLflow; choose another phase or version"
    )


def _ancestry(registry: Any, model: str, version: str) -> Any:
    """The version, then the one it was started from, and so on."""
    from mlflow.exceptions import MlflowException

    versions = [(model, version)]
    for name, number in versions:
        try:
            ancestor = registry.get_model_version(name, number)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise InputError(
                f"{name} version {number}: not in the MLflow registry; set MLFLOW_TRACKING_URI, or name "
                "another"
            ) from None
        yield ancestor
        before = _started_from(ancestor.tags)
        if before and before not in versions:
            versions.append(before)


def _started_from(tags: Mapping[str, str]) -> tuple[str, str] | None:
    """Model and version in the tag of a warm start; None without one, or with one that makes no sense."""
    try:
        before = json.loads(tags[WARM_START])
        return before["model"], before["version"]
    except (LookupError, TypeError, ValueError):
        return None


def _facts(run: str, where: str) -> Checkpoint:
    """The checkpoint of a run, with its facts alone: the tensors are not downloaded."""
    with TemporaryDirectory() as folder:
        download(f"runs:/{run}/{CHECKPOINT}/{FACTS}", Path(folder) / FACTS)
        try:
            return replace(read_checkpoint(Path(folder), needed=()), folder=Path(where))
        except InputError:
            raise InputError(
                f"{where}: its {FACTS} in MLflow is damaged, or of another version of this project; "
                "choose another phase or version"
            ) from None
