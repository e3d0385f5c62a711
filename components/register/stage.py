"""Log the run to MLflow and, when the gate passed, register its generator."""

import shutil
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.torch

from components.commit import git_commit
from components.register.registry import CANDIDATE, WARM_START, client
from components.register.runs import RunFiles, find_or_make_parent, log_parent, log_phase
from progan import networks
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
        "git_commit": git_commit(),
    }


def _started_from(config: Config) -> dict[str, str]:
    """Whose checkpoint the first phase went on from, if it did not start from nothing."""
    for key, start in config.warm_start.items():
        return {WARM_START: canonical_json({"phase": key, **asdict(start)})}
    return {}


def _find_or_make_version(mlflow_client: Any, model: str, run: str, checkpoint: Checkpoint) -> str:
    """The version of `model` that holds this run's generator."""
    import mlflow

    versions = mlflow_client.search_model_versions(f"name = '{model}' and run_id = '{run}'")
    if versions:
        return str(versions[0].version)
    with mlflow.start_run(run_id=run):
        return _log_model(model, checkpoint)


def _log_model(model: str, checkpoint: Checkpoint) -> str:
    """Log the averaged generator as a pyfunc that needs neither this project nor pickle; its version."""
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
        safetensors.torch.save_file(checkpoint.networks("ema"), weights)
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
