"""What is done with the finished run of conftest.py, and what is found of it in MLflow."""

from pathlib import Path

from components.gate.stage import gate
from components.register.registry import client
from components.register.runs import RunFiles
from components.register.stage import register
from progan.files import read_json, write_json


def run_gate_and_register(config):
    """What registration.json says then."""
    gate(config, Path("evaluation/r0004.json"), Path("verdict.json"))
    register(config, RunFiles.below(Path()), "multires", Path("registration.json"))
    return read_json(Path("registration.json"))


def failing(config):
    """`config`, with the evaluation of a generator that the gate does not let pass."""
    evaluation = read_json(Path("evaluation/r0004.json"))
    write_json(Path("evaluation/r0004.json"), evaluation | {"ms_ssim": 1.5})
    return config


def trained_again(fingerprint, swd, **measures):
    """Leave the evaluation of another run behind."""
    evaluation = read_json(Path("evaluation/r0004.json"))
    changes = {"swd": swd, "fingerprint": fingerprint, **measures}
    write_json(Path("evaluation/r0004.json"), evaluation | changes)


def artifacts(run, folder=None):
    """The paths of what the run keeps, below `folder`."""
    return [artifact.path for artifact in client().list_artifacts(run, folder)]


def child_of(parent):
    """The run of the only phase."""
    registry = client()
    experiment = registry.get_run(parent).info.experiment_id
    return registry.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")[0]
