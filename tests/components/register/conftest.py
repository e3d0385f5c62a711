"""A finished run that tests register."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from progan.checkpoints import read_checkpoint
from progan.dataset.manifest import Level, Manifest
from progan.files import write_json
from progan.history import History, Readings
from progan.snapshots import SnapshotFolder
from progan.store import FolderStore
from progan.training import Hooks, PhaseTrainer
from tests.checkpoints import DATASET
from tests.evaluations import evaluation

READINGS = Readings(
    time=1795598024.5, device="NVIDIA H100", gpus=2, gpu_percent=98, gpu_memory_gib=40.5, cpu_percent=110.0
)
QUIET = Hooks(
    lambda done, total: None, lambda generator, alpha: 50.0, lambda: False, machine=lambda: READINGS
)


@pytest.fixture
def run(tmp_path, monkeypatch, small_config, noise, registry):
    """The configuration of a finished run of one phase, in an otherwise empty project folder."""
    monkeypatch.chdir(tmp_path)
    config = small_config
    for key in ("r0008", "r0016"):
        del config.phases[key]
    images, labels = noise[:, :, :4, :4].copy(), np.arange(64) % 3
    trainer = PhaseTrainer(config, config.phases["r0004"], images, "data", None, torch.device("cpu"), labels)
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
    return config
