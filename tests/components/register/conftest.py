"""A finished run that tests register."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.register import model
from progan import config as params
from progan.checkpoints import read_checkpoint
from progan.dataset.manifest import Level, Manifest
from progan.files import write_json
from progan.history import History, Readings
from progan.snapshots import SnapshotFolder
from progan.store import FolderStore
from progan.training import Hooks, PhaseTrainer
from tests.checkpoints import DATASET
from tests.conftest import shrunk_params
from tests.evaluations import evaluation

READINGS = Readings(
    time=1795598024.5, device="NVIDIA H100", gpus=2, gpu_percent=98, gpu_memory_gib=40.5, cpu_percent=110.0
)
QUIET = Hooks(
    lambda done, total: None, lambda generator, alpha: 50.0, lambda: False, machine=lambda: READINGS
)


@pytest.fixture(scope="session", autouse=True)
def shipped_once(tmp_path_factory):
    """Which modules a served generator needs does not change while the tests run."""
    folder = tmp_path_factory.mktemp("shipped")
    packages = model._shipped_code(folder)

    def copied(to):
        return [shutil.copytree(package, to / package.name) for package in packages]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "_shipped_code", copied)
        yield


@pytest.fixture
def run(finished_run, tmp_path, monkeypatch, registry):
    """The configuration of a finished run of one phase, in an otherwise empty project folder."""
    shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return one_phase()


def one_phase():
    config = params.parse(shrunk_params(), "params.yaml")
    for key in ("r0008", "r0016"):
        del config.phases[key]
    return config


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """Its folder, to be copied."""
    folder = tmp_path_factory.mktemp("finished-run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        finish(one_phase())
    return folder


def finish(config):
    """Make what `config`'s phase and its evaluation leave in the current folder."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 3, 4, 4), np.uint8)
    trainer = PhaseTrainer(
        config, config.phases["r0004"], noise, "data", None, torch.device("cpu"), np.arange(64) % 3
    )
    trainer.train(SnapshotFolder(FolderStore(Path("snapshots")), "r0004", trainer.identity), QUIET)
    trainer.write_checkpoint(Path("checkpoints/r0004"), DATASET)
    History(tuple(trainer.history)).write(Path("history/r0004.csv"))
    digest = read_checkpoint(Path("checkpoints/r0004")).digest
    replace(evaluation(), kimg=0.08, identity=trainer.identity, checkpoint=digest).write(
        Path("evaluation/r0004.json")
    )
    grids = dict.fromkeys(["grids/r0004/00014.000.png", "grids/r0004/00017.120.png"], (8, 8))
    for picture, size in {"samples/r0004.png": (1660, 830), **grids}.items():
        Path(picture).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(picture)
    levels = {"r0004": Level.of([])}
    manifest = Manifest(2, "folder", "noise", {}, 0, 3, (), 0, 0, (), {}, levels)
    write_json(Path("multires/dataset.json"), manifest.to_json())
