"""The `progan` command: one clear line and exit code 2 for errors that people can cause."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines import cli
from progan import config
from progan.checkpoints import read_checkpoint
from progan.dataset.build import build
from progan.errors import InputError
from tests.progan.official.released import write_tensorflow


def error_of(done):
    """The line of an input error; only lines of progress may precede it."""
    assert done.returncode == 2, done.stdout + done.stderr
    *before, last = done.stderr.strip().splitlines()
    assert all("images/s" in line for line in before), done.stderr
    assert last.startswith("progan: ")
    return last


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"training": {"ema_decy": 0.9}},
            "params.yaml: training.ema_decy: unknown; did you mean ema_decay?",
        ),
        ({"dataset": {"path": "data/raw/nowhere"}}, "nowhere"),
    ],
)
def test_wrong_parameters(new_project, changes, line):
    """tests/progan/test_config.py has all kinds of wrong parameters."""
    project = new_project()
    project.change(**changes)
    error = error_of(project.run("progan", "build-dataset"))
    assert line in error
    assert not (project.root / "data/multires").exists()


def test_no_params(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from pipelines.cli import main; main()", "gate"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert error_of(done) == "progan: params.yaml: no such file; run in the project's root, or give --params"


def refusal(*words):
    """The line of a command that runs in this process, where torch is imported already."""
    error = CliRunner().invoke(cli.app, words).exception
    assert isinstance(error, InputError), error
    return str(error)


@pytest.fixture
def built(new_project, photographs, monkeypatch):
    """A project whose dataset is built; the tests run in its folder."""
    project = new_project()
    monkeypatch.chdir(project.root)
    source = {"source": "folder", "path": str(photographs), "label_attributes": [], "resolution": 8}
    project.change(dataset=source)
    build(config.load().dataset, Path("data/multires"), workers=1)
    return project


def test_missing_phases_and_datasets(built):
    assert "train r0064: not in params.yaml; there are r0004, r0008" in refusal("train", "r0064")
    assert "checkpoints/r0004: no such file; run the stage that makes it" in refusal("train", "r0008")
    shard = next(Path("data/multires/r0004").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes() + b"x")
    line = f"data/multires/r0004/{shard.name}: not the shard that dataset.json describes"
    assert line in refusal("train", "r0004")
    shutil.rmtree("data/multires")
    line = "data/multires/dataset.json: no such file; run the stage that makes it"
    assert line in refusal("train", "r0004")
    assert not Path("checkpoints").exists()


def test_debug_shows_the_traceback(new_project):
    done = new_project().run("progan", "--debug", "gate", "--params", "nowhere.yaml")
    assert "Traceback" in done.stderr


def test_ctrl_c_is_one_line(new_project):
    """The command is stopped at a known point: while it reads its parameters from a silent pipe."""
    project = new_project()
    os.mkfifo(project.root / "pipe")
    as_in_a_terminal = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = project.start(
        "progan", "gate", "--params", "pipe", stderr=subprocess.PIPE, text=True, **as_in_a_terminal
    )
    with (project.root / "pipe").open("w"):
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 75
    assert errors.split("\n")[-2] == (
        "progan: stopped by Ctrl-C; run the same command again, finished work is kept"
    )
    assert "Traceback" not in errors


def test_no_space_left(built, small_disk):
    line = refusal("train", "r0004", "--snapshots", str(small_disk("16k") / "s"))
    assert "no space left on the disk; free some and run again" in line
    assert not Path("checkpoints/r0004").exists()


def test_official_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["import-official", str(write_tensorflow(Path("released.pkl"))), "--out", "checkpoints/r0016"]
    done = CliRunner().invoke(cli.app, [*command, "--kimg", "12"], catch_exceptions=False)
    assert "checkpoints/r0016: r0016 imported" in done.stdout
    assert read_checkpoint(Path("checkpoints/r0016")).facts.kimg == 12
