"""The training stage as a process: killed in its fade, it ends in the same bits as one left alone."""

import csv
import os
import random
import signal
import time
from pathlib import Path

import pytest
import yaml

from components.tracking.client import client
from components.train import live_run
from components.train.stage import STOP_SIGNALS, _stop_signals, train
from progan import config
from progan.checkpoints import read_checkpoint
from progan.dataset.build import build
from progan.store import FolderStore
from tests.commands import Command

TRAIN = """
from pathlib import Path

import torch
from components.train.stage import train
from pipelines import cli
from progan import config, snapshots
from progan.store import FolderStore

torch.set_num_threads(1)
snapshots.INTERVAL_SECONDS, snapshots.COPYING, snapshots.WRITING = 0.0, 1e9, 1e9  # as many as possible
made = Path("checkpoints/r0008"), Path("history.csv"), Path("grids/r0008")
init, store = Path("checkpoints/r0004"), FolderStore(Path("snapshots"))
arguments = config.load(), "r0008", "identity", Path("multires"), init, store, *made
cli.app = lambda standalone_mode: train(*arguments)
cli.main()
"""


@pytest.fixture
def project(tmp_path, small_params, photographs, monkeypatch):
    """Returns a function that makes a folder with a dataset and a finished r0004; r0008 is to be so long."""

    def make(name, **length):
        root = tmp_path / name
        root.mkdir()
        monkeypatch.chdir(root)
        small_params["dataset"] |= {"source": "folder", "path": str(photographs), "label_attributes": []}
        small_params["phases"]["r0008"] |= length
        Path("params.yaml").write_text(yaml.safe_dump(small_params))
        loaded = config.load()
        build(loaded.dataset, Path("multires"), workers=1)
        files = FolderStore(Path("snapshots")), Path("checkpoints/r0004"), Path("r0004.csv"), Path("r0004")
        train(loaded, "r0004", "identity", Path("multires"), None, *files)
        return root

    return make


def test_a_first_phase_of_any_resolution_needs_no_checkpoint(project, small_params):
    root = project("at once")
    first = {"init": "data/multires/r0008", "fade_kimg": 0.0, "stable_kimg": 0.016}
    small_params["phases"] = {"r0008": small_params["phases"]["r0008"] | first}
    loaded = config.parse(small_params, "params.yaml")
    out = Path("checkpoints/r0008")
    (root / "checkpoints/r0004/checkpoint.json").unlink()
    files = FolderStore(Path("snapshots")), out, Path("r0008.csv"), Path("r0008")
    train(loaded, "r0008", "identity", Path("multires"), None, *files)
    facts = read_checkpoint(out).facts
    assert (facts.resolution, facts.images_shown) == (8, 16)


def test_mlflow_has_the_phases_as_soon_as_they_train(registry, project, monkeypatch):
    """In one run, with every row of their histories; another test has what is in it."""
    monkeypatch.setattr(live_run, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(live_run, "LAST_SECONDS", 120.0)
    root = project("live", stable_kimg=0.016)
    files = FolderStore(Path("snapshots")), Path("checkpoints/r0008"), Path("history.csv"), Path("r0008")
    train(config.load(), "r0008", "of r0008", Path("multires"), Path("checkpoints/r0004"), *files)
    mlflow_client = client()
    experiment = mlflow_client.get_experiment_by_name(config.load().register.model).experiment_id
    runs = {run.data.tags.get("phase"): run for run in mlflow_client.search_runs([experiment])}
    assert runs.keys() == {None, "r0004", "r0008"}
    assert {runs[key].data.tags["mlflow.parentRunId"] for key in ("r0004", "r0008")} == {
        runs[None].info.run_id
    }
    assert runs["r0008"].info.status == "FINISHED"
    points = mlflow_client.get_metric_history(runs["r0008"].info.run_id, "curves/alpha")
    assert {point.step for point in points} >= {round(1000 * float(row["kimg"])) for row in rows_of(root)}


def start(root, log="log"):
    return Command("", root, root / log, TRAIN)


def bytes_of(root):
    """The checkpoint and the pictures over training."""
    folders = root / "checkpoints/r0008", root / "grids/r0008"
    return {path.name: path.read_bytes() for folder in folders for path in folder.iterdir()}


def rows_of(root):
    with (root / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def snapshot_count(root):
    """The images shown by the newest snapshot, or 0."""
    names = [path.name for path in (root / "snapshots").glob("r0008-*/[0-9]*.safetensors")]
    return max((int(name.split("-")[0]) for name in names), default=0)


@pytest.mark.slow
def test_killed_at_random_moments_of_the_fade(project):
    length = {"fade_kimg": 4.0, "stable_kimg": 1.0}
    whole, killed = project("whole", **length), project("killed", **length)
    assert start(whole).end()[0] == 0
    moments = random.Random(0)
    seen = 0
    for _ in range(4):
        training = start(killed)
        deadline = time.monotonic() + 60
        while snapshot_count(killed) <= seen and time.monotonic() < deadline:
            time.sleep(0.01)
        training.kill_after(moments.uniform(0, 0.5))
        assert not (killed / "checkpoints/r0008").exists(), "too quick to be killed: nothing was tested"
        assert seen < snapshot_count(killed) < 4000, "the fade was over: nothing was tested"
        seen = snapshot_count(killed)
    assert start(killed).end()[0] == 0
    assert bytes_of(killed) == bytes_of(whole)
    pictures = sorted(path.stem for path in (whole / "grids/r0008").iterdir())
    assert pictures == [f"{float(row['kimg']):09.3f}" for row in rows_of(whole) if row["swd"]]


def test_sigterm_saves_and_exits_75_and_two_at_once_do_not_clash(project):
    root = project("stopped", fade_kimg=0.16, stable_kimg=0.04)
    first = start(root)
    while snapshot_count(root) == 0:
        assert first.process.is_alive()
        time.sleep(0.01)
    os.kill(first.process.pid, signal.SIGSTOP)  # so that it is not done before the other has begun
    other = start(root, "log of the other")
    while not other.log.exists() or "another process is training r0008" not in other.log.read_text():
        assert other.process.is_alive(), "the second process did not wait"
        time.sleep(0.01)
    for number in signal.SIGTERM, signal.SIGCONT:
        os.kill(first.process.pid, number)
    code, said = first.end()
    assert code == 75
    assert "stopped at" in said
    assert other.end()[0] == 0
    assert read_checkpoint(root / "checkpoints/r0008").facts.images_shown == 80 + 200
    rows = rows_of(root)
    assert [float(row["kimg"]) for row in rows] == sorted({float(row["kimg"]) for row in rows})


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_every_signal_to_stop_is_heeded_unless_it_is_ignored(number):
    """nohup has a process ignore SIGHUP, and a shell one in the background SIGINT and SIGQUIT."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with _stop_signals() as stopped:
            assert not stopped()
            signal.raise_signal(number)
            assert stopped()
        signal.signal(number, signal.SIG_IGN)
        with _stop_signals() as stopped:
            signal.raise_signal(number)
            assert not stopped()
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)
