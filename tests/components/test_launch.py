"""A phase under torchrun, as the command starts it: stopped, killed and gone on with."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from components.train import launch
from components.train.launch import PhaseJob, gpus_here
from progan import config
from progan.checkpoints import read_checkpoint
from progan.dataset.build import build
from progan.errors import InputError, Interrupted

AT_EVERY_ITERATION = (
    "from progan import training\ntraining.SNAPSHOT_SECONDS = training.SNAPSHOT_COST = 1e-6\n"
)
TRAIN = [
    sys.executable,
    "-c",
    "from pipelines.cli import main; main()",
    "train",
    "r0004",
    "--gpus",
    "2",
]


@pytest.fixture
def project(tmp_path, small_params, photographs):
    """Returns a function that makes a project with a built dataset, where snapshots are many."""

    def make(name):
        root = tmp_path / name
        (root / "patches").mkdir(parents=True)
        (root / "patches/sitecustomize.py").write_text(AT_EVERY_ITERATION)
        small_params["dataset"] |= {"source": "folder", "path": str(photographs), "label_attributes": []}
        small_params["phases"]["r0004"]["stable_kimg"] = 0.6
        (root / "params.yaml").write_text(yaml.safe_dump(small_params))
        build(config.load(root / "params.yaml").dataset, root / "data/multires", workers=1)
        return root

    return make


def start(root):
    path = os.pathsep.join([str(root / "patches"), *filter(None, sys.path)])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(TRAIN, cwd=root, env=environment, stderr=subprocess.PIPE, text=True)


def images_saved(root):
    """The images shown by the newest snapshot, or 0."""
    names = [path.name for path in (root / "snapshots").glob("r0004-*/[0-9]*.safetensors")]
    return max((int(name.split("-")[0]) for name in names), default=0)


def wait_for_images(root, process, images):
    while images_saved(root) < images:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def process_of(rank, launcher):
    """The process of one rank among those that `launcher` started."""
    children = psutil.Process(launcher.pid).children(recursive=True)
    return next(child for child in children if child.environ().get("RANK") == str(rank))


def bytes_of(root):
    return {path.name: path.read_bytes() for path in (root / "checkpoints/r0004").iterdir()}


def test_stopped_killed_and_gone_on_with_it_ends_in_the_same_bits(project):
    whole, cut = project("whole"), project("cut")
    process = start(whole)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert errors.count("600 of 600 images") == 1
    facts = read_checkpoint(whole / "checkpoints/r0004").facts
    assert (facts.images_shown, facts.ranks) == (600, 2)
    with (whole / "history/r0004.csv").open() as file:
        assert float(list(csv.DictReader(file))[-1]["swd"]) > 0

    process = start(cut)
    wait_for_images(cut, process, 8)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate()[1]
    assert process.returncode == 75, errors
    assert errors.endswith(
        f"progan: r0004: stopped at {images_saved(cut)} images, state saved; run again to go on\n"
    )
    assert errors.count("state saved") == 1

    process = start(cut)
    wait_for_images(cut, process, images_saved(cut) + 8)
    process_of(1, process).kill()
    errors = process.communicate()[1]
    assert process.returncode == 75, errors
    assert "progan: r0004: rank 1 was killed; run again to go on from the newest snapshot" in errors
    assert 0 < images_saved(cut) < 600, "too quick to be killed: nothing was tested"
    assert not (cut / "checkpoints").exists()

    process = start(cut)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert bytes_of(cut) == bytes_of(whole)


def test_what_a_rank_cannot_read_is_told_once(project):
    root = project("damaged")
    (root / "data/multires/dataset.json").write_text("{")
    process = start(root)
    errors = process.communicate()[1]
    assert process.returncode == 2, errors
    assert errors.count("progan: ") == 1
    assert "data/multires/dataset.json: not valid JSON" in errors.splitlines()[-1]


@pytest.fixture
def job(small_config):
    files = Path("multires"), None, "snapshots", Path("checkpoints/r0004"), Path("r0004.csv"), Path("r0004")
    return PhaseJob(small_config, "r0004", "identity", *files)


def test_uneven_shares_and_more_gpus_than_there_are_are_refused_before_anything_starts(job, monkeypatch):
    with pytest.raises(
        InputError, match=r"phases\.r0004\.minibatch: 8 images are not shared evenly by 3 ranks"
    ):
        launch.launch(job, 3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="--gpus 2: this machine has 1; ask for no more"):
        launch.launch(job, 2)


def test_how_many_gpus_a_pod_is_told(monkeypatch):
    monkeypatch.delenv("PROGAN_GPUS", raising=False)
    assert gpus_here() == 1
    monkeypatch.setenv("PROGAN_GPUS", "4")
    assert gpus_here() == 4
    for wrong in ("many", "0", "-1", ""):
        monkeypatch.setenv("PROGAN_GPUS", wrong)
        with pytest.raises(InputError, match=f"PROGAN_GPUS={wrong}: a number of GPUs is expected"):
            gpus_here()


def test_a_job_reaches_its_ranks_as_it_is(job, tmp_path):
    launch.write_job(job, tmp_path)
    assert launch.read_job(tmp_path) == job


def test_wrong_input_counts_before_a_stop(tmp_path):
    assert launch.read_error(tmp_path) is None
    launch.write_error(Interrupted("stopped"), 0, tmp_path)
    assert isinstance(launch.read_error(tmp_path), Interrupted)
    launch.write_error(InputError("no space left"), 1, tmp_path)
    told = launch.read_error(tmp_path)
    assert isinstance(told, InputError)
    assert str(told) == "no space left"
