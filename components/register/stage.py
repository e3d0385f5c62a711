"""Log the run to MLflow and, when the gate passed, register its generator."""

import csv
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.torch
from safetensors.torch import save_file

from components.gate.stage import flat_measures
from components.register.registry import CANDIDATE, client
from progan import networks
from progan.config import Config
from progan.files import canonical_json, read_json, write_json
from progan.snapshots import Checkpoint, read_checkpoint

RUN_KEY = "progan.fingerprint"  # the tag by which a run that was interrupted is found again
CURVES = (
    "d_loss",
    "g_loss",
    "real_score",
    "fake_score",
    "gradient_norm",
    "alpha",
    "learning_rate",
    "minibatch",
)
RATES = ("images_per_second", "seconds", "skipped", "swd")


@dataclass(frozen=True)
class RunFiles:
    """Where the stages before left what is logged; each folder holds one entry a phase."""

    checkpoints: Path
    history: Path
    evaluations: Path
    samples: Path


def register(config: Config, files: RunFiles, verdict_file: Path, out: Path) -> None:
    """Log parent and phase runs, register the last phase's generator if the verdict is passed.

    Everything is found again by fingerprint, so running this twice, or again after it was killed, makes
    no second run or version. Writes what was made to `out` (JSON).
    """
    verdict = read_json(verdict_file)
    mlflow_client = client()
    checkpoint = read_checkpoint(files.checkpoints / verdict["phase"])
    parent = _parent_run(mlflow_client, config, verdict)
    for key in config.phases:
        _log_phase(mlflow_client, config, key, parent, files)
    _log_parent(mlflow_client, parent, config, verdict, files, verdict_file)
    version = (
        _register_version(mlflow_client, config, parent, checkpoint, verdict) if verdict["passed"] else None
    )
    mlflow_client.set_terminated(parent)
    write_json(
        out, {"model": config.register.model, "version": version, "run": parent, "passed": verdict["passed"]}
    )
    print(
        f"{out}: {config.register.model} version {version}, alias {CANDIDATE}"
        if version
        else f"{out}: run logged; nothing registered, the gate failed"
    )


def _parent_run(mlflow_client: Any, config: Config, verdict: dict[str, Any]) -> str:
    """The id of the run with this verdict's fingerprint, found or made."""
    experiment = mlflow_client.get_experiment_by_name(config.register.model)
    experiment_id = (
        experiment.experiment_id if experiment else mlflow_client.create_experiment(config.register.model)
    )
    key = verdict["candidate"]["fingerprint"]
    found = mlflow_client.search_runs([experiment_id], f"tags.`{RUN_KEY}` = '{key}'")
    if found:
        return found[0].info.run_id
    run = mlflow_client.create_run(
        experiment_id, run_name=f"{verdict['phase']}-{key[:8]}", tags={RUN_KEY: key}
    )
    return run.info.run_id


def _log_phase(mlflow_client: Any, config: Config, key: str, parent: str, files: RunFiles) -> None:
    """Log the phase `key` as a child of `parent`; one that was cut off is done anew."""
    experiment_id = mlflow_client.get_run(parent).info.experiment_id
    mine = f"tags.`mlflow.parentRunId` = '{parent}' and tags.phase = '{key}'"
    for run in mlflow_client.search_runs([experiment_id], mine):
        if run.info.status == "FINISHED":
            return
        mlflow_client.delete_run(run.info.run_id)
    tags = {"mlflow.parentRunId": parent, "phase": key}
    run_id = mlflow_client.create_run(experiment_id, run_name=key, tags=tags).info.run_id
    evaluation = flat_measures(read_json(files.evaluations / f"{key}.json"))
    mlflow_client.log_batch(
        run_id,
        params=_params(asdict(config.phase(key))),
        metrics=[*_curves(files.history / f"{key}.csv"), *_metrics(evaluation, evaluation["kimg"])],
    )
    mlflow_client.log_artifact(run_id, str(files.samples / f"{key}.png"))
    mlflow_client.set_terminated(run_id)


def _curves(history: Path) -> Iterator[Any]:
    """A phase's history as metrics. MLflow's step is the whole kimg; of several rows the last counts."""
    with history.open(newline="") as file:
        rows = {round(float(row["kimg"])): row for row in csv.DictReader(file)}
    for kimg, row in rows.items():
        numbers = {name: float(row[name]) for name in (*CURVES, *RATES) if row[name] != ""}
        yield from _metrics(numbers, kimg)


def _metrics(values: dict[str, Any], kimg: float) -> list[Any]:
    import time

    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [
        Metric(name, float(value), now, round(kimg))
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _params(values: dict[str, Any]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(name, str(value)) for name, value in values.items()]


def _log_parent(
    mlflow_client: Any,
    parent: str,
    config: Config,
    verdict: dict[str, Any],
    files: RunFiles,
    verdict_file: Path,
) -> None:
    measures = _metrics(verdict["candidate"], verdict["candidate"]["kimg"])
    sections = {name: section for name, section in asdict(config).items() if name in ("network", "training")}
    params = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    mlflow_client.log_batch(parent, metrics=measures, params=_params(params))
    mlflow_client.log_artifact(parent, str(verdict_file))
    mlflow_client.log_artifact(parent, str(files.samples / f"{verdict['phase']}.png"))
    for name, value in _tags(verdict).items():
        mlflow_client.set_tag(parent, name, value)


def _register_version(
    mlflow_client: Any, config: Config, parent: str, checkpoint: Checkpoint, verdict: dict[str, Any]
) -> str:
    """The version that holds this run's generator, found or made, with its tags and alias."""
    import mlflow

    model = config.register.model
    versions = mlflow_client.search_model_versions(f"name = '{model}' and run_id = '{parent}'")
    if versions:
        version = versions[0].version
    else:
        with mlflow.start_run(run_id=parent):
            version = _log_model(model, checkpoint)
    for name, value in _tags(verdict).items():
        mlflow_client.set_model_version_tag(model, version, name, value)
    mlflow_client.set_registered_model_alias(model, CANDIDATE, version)
    return str(version)


def _log_model(model: str, checkpoint: Checkpoint) -> str:
    """Log the averaged generator as a pyfunc that needs neither this project nor pickle."""
    import mlflow
    import numpy as np
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    side, channels = checkpoint.facts["resolution"], checkpoint.facts["network"]["channels"]
    latents = Schema([TensorSpec(np.dtype(np.float32), (-1, -1))])
    images = Schema([TensorSpec(np.dtype(np.uint8), (-1, side, side, channels))])
    with TemporaryDirectory() as folder:
        weights, facts = Path(folder) / "generator.safetensors", Path(folder) / "checkpoint.json"
        save_file(checkpoint.networks("ema"), weights)
        write_json(facts, checkpoint.facts)
        info = mlflow.pyfunc.log_model(
            name="generator",
            python_model=str(Path(__file__).with_name("served_generator.py")),
            artifacts={"weights": str(weights), "facts": str(facts)},
            code_paths=[str(_shipped_code(Path(folder)))],
            signature=ModelSignature(inputs=latents, outputs=images),
            pip_requirements=[
                f"mlflow=={mlflow.__version__}",
                f"torch=={torch.__version__.split('+')[0]}",
                f"numpy=={np.__version__}",
                f"safetensors=={safetensors.__version__}",
            ],
            registered_model_name=model,
        )
    return str(info.registered_model_version)


def _shipped_code(folder: Path) -> Path:
    """A copy of the package `progan` that holds its networks alone."""
    package = folder / "progan"
    package.mkdir()
    source = Path(networks.__file__)
    for file in (source, source.with_name("__init__.py")):
        shutil.copy(file, package)
    return package


def _tags(verdict: dict[str, Any]) -> dict[str, str]:
    """What a version says of itself: every measure, the dataset, the commit and the verdict."""
    measures = {name: str(value) for name, value in verdict["candidate"].items()}
    judgement = {"passed": verdict["passed"], "reasons": [reason["text"] for reason in verdict["reasons"]]}
    return measures | {
        "gate": "passed" if verdict["passed"] else "failed",
        "verdict": canonical_json(judgement),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str:
    """The commit that is checked out, "+" behind it when files differ from it; "none" outside git."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--match=", "--dirty=+"],
        capture_output=True,
        text=True,
    )
    return described.stdout.strip() or "none"
