"""What is done with the finished run of conftest.py, and what is found of it in MLflow."""

from dataclasses import replace
from pathlib import Path

from components.evaluate.evaluation import Evaluation
from components.gate.stage import gate
from components.register.registration import Registration
from components.register.registry import client
from components.register.stage import register
from tests.layout import run_files


def run_gate_and_register(config):
    """The registration then."""
    gate(config, Path("evaluation/r0004.json"), Path("verdict.json"))
    register(config, run_files(config), "multires")
    return Registration.read(Path("registration.json"))


def failing(config):
    """`config`, with the evaluation of a generator that the gate does not let pass."""
    change_evaluation(ms_ssim=1.5)
    return config


def change_evaluation(identity=None, **measures):
    """Leave other measures behind; with another `identity`, those of another run."""
    path = Path("evaluation/r0004.json")
    was = Evaluation.read(path)
    replace(was, identity=identity or was.identity, measures=was.measures | measures).write(path)


def artifacts(run, folder=None):
    """The paths of what the run keeps, below `folder`."""
    return [artifact.path for artifact in client().list_artifacts(run, folder)]


def child_of(parent):
    """The run of the only phase."""
    registry = client()
    experiment = registry.get_run(parent).info.experiment_id
    return registry.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")[0]
