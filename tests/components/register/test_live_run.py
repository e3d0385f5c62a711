"""The MLflow runs of a phase while it trains, and how `register` completes them."""

import io
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from components.tracking import client as tracking_client
from components.tracking.client import client
from components.tracking.runs import phase_runs
from components.train import live_run
from components.train.live_run import LiveRun
from components.train.live_state import LiveState
from progan.health import Problem
from progan.history import History, Readings
from tests.components.register.finished_run import artifacts, child_of, run_gate_and_register
from tests.histories import BEGIN, history


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(live_run, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(live_run, "LAST_SECONDS", 120.0)


def send(config, key, identity, *moments, init=None):
    """Train `key` as far as these moments: a state, and the rows that the history then has. The notices."""
    notices, picture = [], io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    with LiveRun(config, key, identity, init, notices.append) as run:
        for state, rows in moments:
            problems = (Problem("SWD is 90.0", "lower learning_rate"),) if state == "failed" else ()
            live = LiveState(key, state, rows[-1].images, 100, None, 0.0, 0.0, rows[-1].columns, problems)
            run.send(live, list(rows), picture.getvalue())
    return notices


def parents(config):
    """The runs in the experiment that are nobody's children, oldest first."""
    registry = client()
    experiment = registry.get_experiment_by_name(config.register.model).experiment_id
    runs = registry.search_runs([experiment], order_by=["start_time"])
    return [run for run in runs if "mlflow.parentRunId" not in run.data.tags]


def steps(run, name):
    return [point.step for point in client().get_metric_history(run, name)]


@pytest.mark.usefixtures("registry")
def test_from_its_first_rows_to_the_next_phase(small_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begin, end = history(images=100, time=1e9).rows
    middle = replace(end, images=40, kimg=0.04)
    assert send(small_config, "r0004", "a", ("training", [begin]), ("stopped", [begin, middle])) == []
    (parent,) = parents(small_config)
    child = child_of(parent.info.run_id)
    assert (parent.info.status, child.info.status) == ("KILLED", "KILLED")
    assert parent.data.tags["state"] == child.data.tags["state"] == "r0004 stopped, 0.04 of 0.1 kimg"
    assert parent.data.params["phases.r0004.minibatch"] == child.data.params["minibatch"] == "8"
    assert parent.data.params["training.seed"] == str(small_config.training.seed)
    assert "gate.swd_max" not in parent.data.params, "it may change until the run is registered"
    assert "not finished" in parent.data.tags["mlflow.note.content"]

    assert send(small_config, "r0004", "a", ("finished", [begin, middle, end])) == []
    parent, child = client().get_run(parent.info.run_id), client().get_run(child.info.run_id)
    assert (parent.info.status, child.info.status) == ("RUNNING", "FINISHED")
    assert child.info.end_time - child.info.start_time == 65_000
    for run in (parent, child):
        assert steps(run.info.run_id, "curves/d_loss") == [0, 40, 100]
    pictures = {path.split("+step+")[1].split("+")[0] for path in artifacts(child.info.run_id, "images")}
    assert pictures == {"0", "40", "100"}

    send(small_config, "r0008", "b", ("failed", [begin, end]), init="a")
    assert [run.info.run_id for run in parents(small_config)] == [parent.info.run_id]
    parent = client().get_run(parent.info.run_id)
    assert (parent.info.status, parent.data.tags["problems"]) == ("FAILED", "SWD is 90.0")
    assert "lower learning_rate" in parent.data.tags["mlflow.note.content"]
    send(small_config, "r0008", "c", ("training", [begin, end]), init="a")
    assert len(parents(small_config)) == 2, "with other parameters it is another run"


def test_register_completes_the_run(run):
    rows = History.read(Path("history/r0004.csv")).rows
    assert send(run, "r0004", "data", ("training", rows[:3]), ("finished", rows)) == []
    (begun,) = parents(run)
    assert run_gate_and_register(run).run == begun.info.run_id
    registry = client()
    (child,) = phase_runs(registry, begun.info.run_id)
    parent = registry.get_run(begun.info.run_id)
    assert (parent.info.status, parent.data.tags["state"]) == ("FINISHED", "finished")
    assert (parent.info.run_name, parent.data.params["gate.swd_max"]) == ("r0004-data", "1000000.0")
    for each in (parent, child):
        assert each.data.metrics["measures/ms_ssim"] == 0.4
        points = [row.images for row in rows if row.d_loss is not None]
        assert steps(each.info.run_id, "curves/d_loss") == points
    assert "checkpoint" in artifacts(child.info.run_id)
    send(run, "r0004", "data", ("training", rows[:2]))
    assert len(parents(run)) == 1, "a phase that is trained once more leaves the registered run as it is"
    assert registry.get_run(begun.info.run_id).info.status == "FINISHED"


@pytest.mark.usefixtures("registry")
def test_what_mlflow_did_not_take_is_sent_later(small_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begin = replace(BEGIN, machine=Readings(time=1e9))
    connect, failures = tracking_client.client, iter([OSError("disk full"), OSError("disk full")])
    taken = threading.Event()

    def failing():
        if error := next(failures, None):
            raise error
        taken.set()
        return connect()

    monkeypatch.setattr(live_run, "client", failing)
    notices, picture = [], io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    with LiveRun(small_config, "r0004", "a", None, notices.append) as run:
        for images in (10, 20, 30):
            row = replace(BEGIN, images=images, kimg=images / 1000)
            live = LiveState("r0004", "training", images, 100, None, 0.0, 0.0, row.columns)
            run.send(live, [begin, row], picture.getvalue())
            deadline = time.monotonic() + 60
            while not run._renewals.empty() and time.monotonic() < deadline:
                time.sleep(0.01)
    assert taken.is_set()
    assert notices == ["warning: MLflow lacks the newest of r0004, training goes on: disk full"]
    (parent,) = parents(small_config)
    child = child_of(parent.info.run_id)
    pictures = {path.split("+step+")[1].split("+")[0] for path in artifacts(child.info.run_id, "images")}
    assert pictures == {"10", "20", "30"}


def test_mlflow_that_does_not_answer_holds_nothing_up(small_config, monkeypatch):
    monkeypatch.setattr(live_run, "LAST_SECONDS", 0.1)
    asked, never = threading.Event(), threading.Event()
    monkeypatch.setattr(live_run, "client", lambda: asked.set() or never.wait())
    begin, _ = history().rows
    with LiveRun(small_config, "r0004", "a", None, print) as run:
        live = LiveState("r0004", "training", 0, 100, None, 0.0, 0.0, begin.columns)
        run.send(live, [begin], b"")
        assert asked.wait(60)
    assert run._thread.is_alive()
    never.set()


def test_a_short_phase_asks_nothing_of_mlflow(small_config, monkeypatch):
    monkeypatch.setattr(live_run, "FIRST_SECONDS", 60.0)
    monkeypatch.setattr(live_run, "client", lambda: pytest.fail("MLflow was asked"))
    assert send(small_config, "r0004", "a", ("finished", history().rows)) == []
