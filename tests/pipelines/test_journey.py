"""The whole journey as a newcomer meets it: `dvc repro`, again, with a failing gate, and killed."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from typer.testing import CliRunner

from pipelines import cli
from progan.files import read_json, sha256_file


def progan(*words):
    """What a command prints that runs in this process, where torch is imported already."""
    done = CliRunner().invoke(cli.app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def to_run():
    """The names of the stages that `dvc repro` would run."""
    with Repo() as repo:
        return {stage.addressing for stage in repo.reproduce(dry=True)}


@pytest.fixture
def stages_in_this_process(monkeypatch):
    """DVC runs the commands of stages here, where torch is imported already, instead of each in a process."""

    def run(executable, command, **options):
        name, *words = command.split()
        assert name == "progan"
        progan(*words)

    monkeypatch.setattr("dvc.stage.run._run", run)


def test_the_journey(new_project, stages_in_this_process, empty_registry, monkeypatch):
    """Below, with a process for each stage."""
    project = new_project()
    shutil.copy(empty_registry, project.root)
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.environment["MLFLOW_TRACKING_URI"])
    with Repo() as repo:
        repo.reproduce()
    assert read_json(Path("registration.json"))["version"] == "1"
    report = Path("report/report.html").read_text()
    assert "registered as version 1" in report
    assert report.count("data:image/png;base64,") == 2 * 3  # of each phase: reals, fakes, the nearest to some
    assert "http" not in report.replace("http://www.w3.org", "")
    with Repo() as repo:
        metrics = repo.metrics.show()[""]["data"]
        [plots] = repo.plots.show().values()
    assert not [name for name, plot in plots["sources"]["data"].items() if "error" in plot]
    assert metrics.keys() == {"report/metrics/r0004.json", "report/metrics/r0008.json"}
    for shown in metrics.values():
        assert {"kimg", "swd_average", "ms_ssim", "nearest_ratio"} <= shown["data"].keys()
        assert all(isinstance(value, float) for value in shown["data"].values())
    ignored = project.run("git", "check-ignore", *metrics, "report/report.html").stdout
    assert ignored.split() == ["report/report.html"]
    summary = progan("summary")
    for part in ("the gate passed", "report/report.html", "samples/r0008.png", "version 1", "mlflow ui"):
        assert part in summary
    assert to_run() == set()

    project.change(gate={"ms_ssim_max": 0.0})
    assert to_run() == {"gate"}  # and what follows from another verdict
    assert "FAILED, nothing will be registered" in progan("gate")


def test_a_phase_that_was_trained_by_hand_is_taken_over(
    finished, stages_in_this_process, monkeypatch, tmp_path
):
    """DVC goes on from its last snapshot, wherever those are: not an image is shown again."""
    monkeypatch.setenv("PROGAN_SNAPSHOTS", str(tmp_path / "elsewhere"))
    finished.change(training={"seed": 5})
    progan("train", "r0004")
    made = "history/r0004.csv", "checkpoints/r0004/networks.safetensors", "checkpoints/r0004/checkpoint.json"
    before = [(finished.root / file).read_bytes() for file in made]
    with Repo() as repo:
        assert "train@r0004" in [stage.addressing for stage in repo.reproduce("train@r0004")]
    assert [(finished.root / file).read_bytes() for file in made] == before  # the history has times in it


def networks_of(project):
    return {
        key: sha256_file(project.root / f"checkpoints/{key}/networks.safetensors")
        for key in ("r0004", "r0008")
    }


@pytest.mark.slow
@pytest.mark.parametrize("whole_tree", [True, False])
def test_killed_anywhere_it_goes_on(new_project, whole_tree):
    """SIGKILL of everything, or of dvc alone (its child lives on), at random moments."""
    undisturbed, killed = new_project("undisturbed"), new_project("killed")
    for project in (undisturbed, killed):
        project.change(phases={"r0004": {**phase(project, "r0004"), "stable_kimg": 10.0}})
    assert undisturbed.start("dvc", "repro").wait() == 0
    moments = random.Random(1)
    for _ in range(5):
        process = killed.start("dvc", "repro")
        time.sleep(moments.uniform(2, 25))
        if whole_tree:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
    last = killed.run("dvc", "repro")
    assert last.returncode == 0, last.stdout + last.stderr
    assert networks_of(killed) == networks_of(undisturbed)
    assert read_json(killed.root / "registration.json")["version"] == "1"
    assert json.loads((killed.root / "verdict.json").read_text())["passed"]


def phase(project, key):
    return yaml.safe_load((project.root / "params.yaml").read_text())["phases"][key]


@pytest.mark.slow
def test_a_phase_waits_for_the_verdict_on_the_one_before(new_project):
    """DVC has no conditions: the stage itself asks for the verdict, and stops the run when it is no."""
    project = new_project()
    project.change(gate={"stop_after": "r0004", "ms_ssim_max": 0.0})
    first = project.run("dvc", "repro")
    assert first.returncode != 0
    assert "r0008 waits for the verdict on r0004" in first.stderr
    assert project.run("dvc", "repro", "evaluate@r0004").returncode == 0
    second = project.run("dvc", "repro")
    assert second.returncode != 0
    assert "r0008 is not trained, r0004 failed: ms_ssim is" in second.stderr
    assert (project.root / "checkpoints/r0004").exists()
    assert not (project.root / "checkpoints/r0008").exists()
    project.change(gate={"ms_ssim_max": 1.0})
    assert project.run("dvc", "repro", "train@r0008").returncode == 0
    assert (project.root / "checkpoints/r0008").exists()
