"""A project that DVC takes for finished, in seconds: what no plan reads is made up."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from progan import config
from progan.checkpoints import DatasetFacts, read_checkpoint
from progan.dataset.build import build
from progan.dataset.reader import load_images, load_manifest
from progan.files import write_json
from progan.training import PhaseTrainer
from tests.conftest import ROOT
from tests.evaluations import evaluation
from tests.histories import history

COPIED = (
    "dvc.yaml",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    "data/.gitignore",
    "progan/__init__.py",
    "infra/cluster.yaml",
)
FACES, DATASET = Path("data/raw/faces"), Path("data/multires")
SECONDS = 10.0  # that every phase took


def make_finished(params):
    """Fill the working folder; photographs of its own are tracked by DVC."""
    for name in COPIED:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, name)
    params["paint"] = {}
    params["dataset"] |= {"source": "folder", "path": str(FACES), "label_attributes": []}
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    subprocess.run(["git", "init", "-q"], check=True)
    add_photographs(24)
    loaded = config.load()
    build(loaded.dataset, DATASET, workers=1)
    for key in loaded.phases:
        finish_phase(loaded, key)
    for name in ("score_network/score_network.json", "verdict.json", "registration.json"):
        write_json(Path(name), {})
    for name in ("report.html", "training.csv", "swd.csv", *(f"metrics/{key}.json" for key in loaded.phases)):
        made_up(Path("report") / name)
    from dvc.repo import Repo

    with Repo() as repo:
        repo.add(str(FACES))
        repo.commit(force=True)


def add_photographs(count):
    random = np.random.default_rng(count)
    FACES.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(FACES / f"{number:02d}.png")


def trainer_of(loaded, key):
    """The trainer of a phase, at its start."""
    phase = loaded.phase(key)
    images, _ = load_images(DATASET, phase.resolution)
    digest = load_manifest(DATASET).level(phase.resolution).digest
    init = None if phase.is_first else read_checkpoint(Path(phase.init))
    return PhaseTrainer(loaded, phase, images, digest, init, torch.device("cpu"))


def finish_phase(loaded, key):
    """A checkpoint with the right facts of networks that have learnt nothing, and what stands beside it."""
    trainer = trainer_of(loaded, key)
    trainer.images_shown = trainer.schedule.total_images
    digest = load_manifest(DATASET).level(trainer.phase.resolution).digest
    trainer.write_checkpoint(Path("checkpoints") / key, DatasetFacts("faces", 24, digest))
    history(trainer.images_shown, SECONDS).write(Path(f"history/{key}.csv"))
    digest = read_checkpoint(Path("checkpoints") / key).digest
    replace(evaluation(key), checkpoint=digest).write(Path(f"evaluation/{key}.json"))
    for picture in (f"samples/{key}.png", f"samples/{key}-nearest.png", f"grids/{key}/00000.000.png"):
        made_up(Path(picture))


def made_up(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("made up")
