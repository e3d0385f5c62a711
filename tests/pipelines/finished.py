"""A project that DVC takes for finished, in seconds: what no plan reads is made up."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from components import stages
from components.receipts import identity_here, recorded
from progan import config
from progan.checkpoints import DatasetFacts, read_checkpoint
from progan.dataset.build import build
from progan.dataset.reader import load_images, load_manifest
from progan.files import write_json
from progan.training import PhaseTrainer
from tests import made_up
from tests.conftest import start_project
from tests.histories import history

FACES, DATASET = Path("data/raw/faces"), Path("data/multires")
SECONDS = 10.0  # that every phase took


def make_finished(params):
    """Fill the working folder; photographs of its own are tracked by DVC."""
    params["paint"] = {}
    params["dataset"] |= {"source": "folder", "path": str(FACES), "label_attributes": []}
    start_project(Path(), params)
    add_photographs(24)
    loaded = config.load()
    build(loaded.dataset, DATASET, workers=1)
    finish(loaded, "score-network")
    for stage in ("train", "evaluate"):
        for key in loaded.phases:
            finish(loaded, stage, key)
    for name in ("verdict.json", "registration.json"):
        write_json(Path(name), {})
    made_up.report()
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
    task = stages.task(loaded, "train", key)
    init = None if phase.is_first else read_checkpoint(Path(phase.init))
    identity = identity_here(loaded, task, task.paths())
    return PhaseTrainer(loaded, phase, images, identity, init, torch.device("cpu"))


def finish(loaded, stage, key=None):
    """What a task makes, of networks that have learnt nothing, with its receipt."""
    task = stages.task(loaded, stage, key)
    with recorded(loaded, task):
        if stage == "train":
            made_up.training(loaded, key)  # the picture; the rest has the facts of a real phase
            trainer = trainer_of(loaded, key)
            trainer.images_shown = trainer.schedule.total_images
            level = load_manifest(DATASET).level(trainer.phase.resolution)
            trainer.write_checkpoint(Path("checkpoints") / key, DatasetFacts("faces", 24, level.digest))
            history(trainer.images_shown, SECONDS).write(Path(f"history/{key}.csv"))
        elif stage == "evaluate":
            made_up.evaluated(loaded, key, read_checkpoint(Path("checkpoints") / key).digest)
        else:
            made_up.score_network(loaded)
