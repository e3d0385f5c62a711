"""`progan retrain` against the stand-in for Kubeflow Pipelines: when it starts a run, and only one."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipelines import cli, kubeflow, retraining
from pipelines.profile import load_profile
from pipelines.retraining import run_key
from progan import config
from progan.errors import InputError, Interrupted, Unavailable
from tests.conftest import IMAGE
from tests.pipelines.compiled_once import compiled_once
from tests.pipelines.finished import FACES
from tests.pipelines.kubeflow_server import kubeflow_server


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setattr("pipelines.retraining.compiled", compiled_once)
    with kubeflow_server() as service:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", service.server.url)
        yield service


def told(*arguments):
    """What `progan retrain --json` says."""
    done = CliRunner().invoke(cli.app, ["retrain", "--json", "--image", IMAGE, *arguments])
    assert done.exit_code == 0, (done.exception, done.stderr)
    return json.loads(done.stdout)


def test_nothing_to_do(finished, service):
    answer = told()
    assert (answer["decision"], answer["url"]) == ("nothing-to-do", None)
    assert service.server.requests == []
    plain = CliRunner().invoke(cli.app, ["retrain"])
    assert plain.stdout == "nothing to do: dvc.lock has the results of these parameters and data\n"


def test_one_run_for_each_state(finished, service):
    finished.change(gate={"swd_max": 5.0})
    first = told()
    assert first["decision"] == "submitted"
    assert first["url"] == f"{service.server.url}/#/runs/details/run-1"
    assert service.runs[0]["display_name"] == f"progan-toy-celeba {first['key']}"
    assert service.runs[0]["service_account"] == "progan-pipeline"
    service.states["run-1"] = ["SUCCEEDED"]
    again = CliRunner().invoke(cli.app, ["retrain", "--image", IMAGE])
    assert again.stdout == f"{first['url']}\n"
    assert f"a run of this state ({first['key']}) was started before" in again.stderr
    service.states["run-1"] = ["FAILED"]
    third = told("--ui", "https://kubeflow.example.org/_/p")
    assert third["url"] == "https://kubeflow.example.org/_/p/#/runs/details/run-2"
    assert service.runs[1]["display_name"] == f"progan-toy-celeba {first['key']} 2"


def test_the_budget(finished, service):
    """The same for `progan plan`, and compared with the most that it may take."""
    finished.change(training={"seed": 5})
    totals = json.loads(CliRunner().invoke(cli.app, ["plan", "--cluster", "--json"]).stdout)["totals"]
    price, hours = totals["price"]["high"], totals["hours"]["high"]
    too_long = CliRunner().invoke(cli.app, ["plan", "--cluster", "--max-hours", str(hours * 0.9)])
    assert isinstance(too_long.exception, InputError)
    assert "more than --max-hours" in str(too_long.exception)
    assert "train r0008" in too_long.stdout
    too_dear = CliRunner().invoke(cli.app, ["retrain", "--json", "--max-cost", str(price * 0.9)])
    assert json.loads(too_dear.stdout)["decision"] == "over-budget"
    assert "more than --max-cost" in str(too_dear.exception)
    assert service.server.requests == []
    enough = told("--max-cost", str(price * 1.1), "--max-hours", str(hours * 1.1))
    assert enough["decision"] == "submitted"


@pytest.fixture
def trigger(finished, service, monkeypatch):
    """Returns a function that starts the run of one state unless somebody else did."""
    monkeypatch.setattr(retraining, "POLL_SECONDS", 0.01)
    loaded, profile = config.load(), load_profile(Path("infra/cluster.yaml"), IMAGE)

    def trigger():
        client = kubeflow.Kubeflow(service.server.url, kubeflow.TOKEN_OF_POD, "progan", None)
        return retraining.start_once(client, "faces", "key", loaded, profile, Path("data/multires"))

    return trigger


def test_a_second_trigger_starts_nothing_however_long_the_first_takes(service, trigger, monkeypatch):
    starting, go_on, ends = threading.Event(), threading.Event(), []
    monkeypatch.setattr(service, "starting", lambda: (starting.set(), go_on.wait(60)))
    first = threading.Thread(target=lambda: ends.append(trigger()))
    first.start()
    assert starting.wait(60)
    with pytest.raises(Interrupted, match="faces key: another trigger is starting this run; try again later"):
        trigger()
    go_on.set()
    first.join()
    assert [*ends, trigger()] == [("run-1", True), ("run-1", False)]


def test_a_run_that_was_refused_can_be_started_later_and_one_that_may_have_started_not(
    service, trigger, monkeypatch
):
    for status, error in ((403, InputError), (503, Unavailable)):
        with monkeypatch.context() as patch:
            patch.setattr(service, "create_run", lambda request, status=status: (status, {}))
            with pytest.raises(error):
                trigger()
    with pytest.raises(Interrupted, match="another trigger is starting this run"):
        trigger()
    assert service.runs == []


def test_the_key(finished, small_params):
    loaded, dataset = config.load(), Path("data/multires")
    key = run_key(loaded, dataset)
    stricter = replace(loaded, gate=replace(loaded.gate, swd_max=1.0))
    assert run_key(stricter, dataset) != key
    shutil.rmtree("data/multires")
    shutil.rmtree(FACES)
    assert run_key(loaded, dataset) == key  # as in a clone without data
    tracked = yaml.safe_load(Path(f"{FACES}.dvc").read_text())
    tracked["outs"][0]["md5"] = "00" * 16 + ".dir"
    Path(f"{FACES}.dvc").write_text(yaml.safe_dump(tracked))
    assert run_key(loaded, dataset) != key
    painted = config.parse(small_params, "")
    small_params["paint"]["toy-celeba"]["images"] += 1
    assert run_key(painted, dataset) != run_key(config.parse(small_params, ""), dataset)


def test_what_can_be_wrong(finished, service, monkeypatch):
    def wrong(*arguments):
        done = CliRunner().invoke(cli.app, arguments)
        assert isinstance(done.exception, InputError), done.exception
        return str(done.exception)

    assert wrong("start-from-champion", "r0008") == (
        "r0008: no phase of params.yaml comes after it; give one of r0004"
    )
    finished.change(training={"seed": 5})
    assert "progan:latest has no digest" in wrong("retrain", "--image", "progan:latest")
    assert service.runs == []
