"""A phase under torchrun, as the command starts it: stopped, killed and gone on with."""

import csv
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from typer.testing import CliRunner

from components.train import launch
from components.train.launch import PhaseJob, gpus_here
from pipelines.cli import app
from progan import config
from progan.checkpoints import read_checkpoint
from progan.dataset.build import build
from progan.errors import InputError, Interrupted
from tests.conftest import ROOT

AT_EVERY_ITERATION = """
from progan import progress, snapshots
snapshots.INTERVAL_SECONDS, snapshots.COPYING, snapshots.WRITING = 0.0, 1e9, 1e9
progress.LINE_SECONDS = 0.0
"""
KILL_RANK_1 = """
import os, signal
match os.environ.get("RANK"):
    case "0": signal.pause()
    case "1": os.kill(os.getpid(), signal.SIGKILL)
"""
TRAIN = ["train", "r0004", "--gpus", "2"]


@pytest.fixture
def project(tmp_path, small_params, photographs, monkeypatch):
    """Returns a function that enters a project with a built dataset, where snapshots are many."""
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches/sitecustomize.py").write_text(AT_EVERY_ITERATION)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "patches"), str(ROOT)]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    small_params["dataset"] |= {"source": "folder", "path": str(photographs), "label_attributes": []}
    small_params["phases"]["r0004"]["stable_kimg"] = 0.24

    def enter(name):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        Path("params.yaml").write_text(yaml.safe_dump(small_params))
        build(config.load().dataset, Path("data/multires"), workers=1)

    return enter


def train():
    """Run the command in this process, which spares the start of another; returns its error."""
    return CliRunner().invoke(app, TRAIN).exception


def images_saved():
    """The images shown by the newest snapshot, or 0."""
    names = [path.name for path in Path("snapshots").glob("r0004-*/[0-9]*.safetensors")]
    return max((int(name.split("-")[0]) for name in names), default=0)


def train_until(images, act):
    """Train, and `act` as soon as there is a snapshot of so many images; returns the command's error."""

    def wait_and_act():
        deadline = time.monotonic() + 120
        while images_saved() < images and time.monotonic() < deadline:
            time.sleep(0.01)
        assert images_saved() >= images
        act()

    with ThreadPoolExecutor() as pool:
        acted = pool.submit(wait_and_act)
        error = train()
        acted.result()
    return error


def stop():
    """What Kubernetes does to a pod: its ranks are processes of their own."""
    os.kill(os.getpid(), signal.SIGTERM)


def kill_rank_1():
    children = psutil.Process().children(recursive=True)
    next(child for child in children if child.environ().get("RANK") == "1").kill()


def bytes_of_checkpoint():
    return {path.name: path.read_bytes() for path in Path("checkpoints/r0004").iterdir()}


def check_unfinished():
    assert 0 < images_saved() < 240, "too quick to be stopped: nothing was tested"
    assert not Path("checkpoints").exists()


def check_finished(said):
    *before, last = re.findall(r"r0004 \d+ of 240 · .*", said)
    assert all("left, whole run ≈" in line for line in before[1:])
    assert re.fullmatch(r"r0004 240 of 240 · stable · losses D \S+, G \S+ · SWD \S+ · \d+ images/s", last)
    facts = read_checkpoint(Path("checkpoints/r0004")).facts
    assert (facts.images_shown, facts.ranks) == (240, 2)
    with Path("history/r0004.csv").open() as file:
        assert float(list(csv.DictReader(file))[-1]["swd"]) > 0


def test_stopped(project):
    """It goes on below, and in test_distributed.py."""
    project("cut")
    error = train_until(8, stop)
    assert isinstance(error, Interrupted)
    assert str(error) == f"r0004: stopped at {images_saved()} images, state saved; run again to go on"
    check_unfinished()


@pytest.mark.slow
def test_stopped_killed_and_gone_on_with_it_ends_in_the_same_bits(project, capfd):
    project("cut")
    assert isinstance(train_until(8, stop), Interrupted)
    assert isinstance(train_until(images_saved() + 8, kill_rank_1), Interrupted)
    check_unfinished()
    assert train() is None
    check_finished(capfd.readouterr().err)
    checkpoint = bytes_of_checkpoint()
    project("whole")
    assert train() is None
    check_finished(capfd.readouterr().err)
    assert bytes_of_checkpoint() == checkpoint


def test_a_rank_that_is_killed(project, tmp_path):
    project("killed")
    (tmp_path / "patches/sitecustomize.py").write_text(KILL_RANK_1)
    error = train()
    assert isinstance(error, Interrupted)
    assert str(error) == "r0004: rank 1 was killed; run again to go on from the newest snapshot"


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


def test_wrong_input_counts_before_a_stop(tmp_path):
    assert launch.read_error(tmp_path) is None
    launch.write_error(Interrupted("stopped"), 0, tmp_path)
    assert isinstance(launch.read_error(tmp_path), Interrupted)
    launch.write_error(InputError("no space left"), 1, tmp_path)
    told = launch.read_error(tmp_path)
    assert isinstance(told, InputError)
    assert str(told) == "no space left"
