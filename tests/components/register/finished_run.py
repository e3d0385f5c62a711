"""Steps on the finished run of conftest.py, and look-ups of it in MLflow."""

from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file

from components.evaluate.evaluation import Evaluation
from components.gate.stage import gate
from components.register.registration import Registration
from components.register.stage import register
from components.tracking.client import client
from components.tracking.runs import phase_runs
from progan.checkpoints import NETWORKS, OPTIMIZERS, read_checkpoint, write_checkpoint
from tests.layout import run_files


def run_gate_and_register(config):
    """Returns the registration."""
    gate(config, Path("evaluation/r0004.json"), Path("verdict.json"))
    register(config, run_files(config), "multires")
    return Registration.read(Path("registration.json"))


def failing(config):
    """`config`, after changing the evaluation so that the gate fails."""
    change_evaluation(ms_ssim=1.5)
    return config


def change_evaluation(identity=None, **measures):
    """Change measures of the evaluation; with `identity`, make it and the checkpoint those of another run."""
    path = Path("evaluation/r0004.json")
    old = Evaluation.read(path)
    if identity:
        folder = Path("checkpoints/r0004")
        facts = replace(read_checkpoint(folder).facts, identity=identity)
        networks, optimizers = (load_file(folder / name) for name in (NETWORKS, OPTIMIZERS))
        write_checkpoint(folder, facts, networks, optimizers)
    replace(old, identity=identity or old.identity, measures=old.measures | measures).write(path)


def artifacts(run, folder=None):
    """The paths of the run's artifacts below `folder`."""
    return [artifact.path for artifact in client().list_artifacts(run, folder)]


def child_of(parent):
    """The child run of the only phase."""
    return phase_runs(client(), parent)[0]
