"""`progan watch` on records as training writes them, here and of a run on a cluster."""

import json
import re
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components import stages
from components.identity import digests_of_dataset, identity
from components.run_record import RunRecord
from components.train.live_state import LiveState
from pipelines import watching
from pipelines.cli import app
from progan.dataset.manifest import Level, Manifest
from progan.errors import InputError
from progan.files import write_json
from progan.health import Problem
from tests.histories import BEGIN


def write_record(root, name, seconds_ago=0, problems=()):
    live = LiveState(
        "r0008", "training", 2400, 5000, 90.0, time.time() - seconds_ago, 0.01, BEGIN.columns, problems
    )
    folder = root / name / "live"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps(asdict(live)))
    (folder / "index.html").write_text("the page")
    return live


def test_the_newest_first_with_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_record(tmp_path / "snapshots", "r0004-aa", seconds_ago=3690)
    write_record(
        tmp_path / "snapshots", "r0008-bb", 30, (Problem("the images are much alike", "start again"),)
    )
    result = CliRunner().invoke(app, ["watch"])
    assert result.exit_code == 0
    first, page, problem, second, older = result.output.splitlines()
    assert re.fullmatch(r"r0008 training, 2.4 of 5 kimg · 10 images/s · 1m 30s left · 3\ds ago", first)
    assert page == "  snapshots/r0008-bb/live/index.html"
    assert problem == "  ! the images are much alike: start again"
    assert re.search(r"1h 0[12]m ago$", second)
    assert older == "  snapshots/r0004-aa/live/index.html"
    (record, _) = json.loads(CliRunner().invoke(app, ["watch", "--json"]).output)
    assert (record["images"], record["page"]) == (2400, "snapshots/r0008-bb/live/index.html")
    newest, _ = watching.records("snapshots")
    assert watching.page_here(newest).read_text() == "the page"


def test_nothing_to_see_and_damage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="snapshots: no phase has begun to train; run dvc repro"):
        watching.records("snapshots")
    write_record(tmp_path / "snapshots", "r0004-aa")
    (tmp_path / "snapshots/r0004-aa/live/state.json").write_text('{"phase": 4}')
    with pytest.raises(InputError, match=r"snapshots/r0004-aa/live/state.json: damaged"):
        watching.records("snapshots")


def test_a_run_that_has_not_begun(tmp_path, small_config):
    with pytest.raises(InputError, match="abc: has not begun to train"):
        watching.folders_of_run("abc", str(tmp_path), "nowhere")
    RunRecord.of(small_config, "", "RUNNING").write(str(tmp_path), "abc")
    with pytest.raises(InputError, match="abc: has not begun to train"):
        watching.folders_of_run("abc", str(tmp_path), "nowhere")


def test_the_phases_of_a_run_on_a_cluster(tmp_path, monkeypatch, small_config):
    """Its own record is shown, not that of another training of the same phase."""
    monkeypatch.chdir(tmp_path)
    manifest = Manifest(2, "folder", "noise", {}, 0, 3, (), 0, 0, (), {}, {"r0004": Level.of([])})
    write_json(Path("faces/dataset.json"), manifest.to_json())
    RunRecord.of(small_config, manifest.digest, "RUNNING").write("results", "abc")
    digests = digests_of_dataset("data/multires", manifest)
    name = f"r0004-{identity(small_config, stages.task(small_config, 'train', 'r0004'), digests)[:16]}"
    write_record(Path("snapshots"), name)
    write_record(Path("snapshots"), "r0004-0123456789abcdef")
    (record,) = watching.records("snapshots", watching.folders_of_run("abc", "results", "faces"))
    assert record.page == f"snapshots/{name}/live/index.html"
