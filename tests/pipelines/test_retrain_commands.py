"""`progan retrain` against the stand-in for Kubeflow Pipelines: when it starts a run, and only one."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from kfp_server_api import V2beta1Run
from typer.testing import CliRunner

from pipelines import cli, compiling, kubeflow
from pipelines.retraining import run_key
from progan import config
from progan.errors import InputError
from tests.conftest import IMAGE
from tests.pipelines.finished import FACES
from tests.pipelines.http_server import API, serving


class StandIn:
    """Runs that can be made, listed by name and terminated; they are under way until `states` says else."""

    def __init__(self):
        self.runs, self.states, self.lock = [], {}, threading.Lock()
        self.made_at = lambda number: f"2026-01-01T00:00:{number:02d}Z"

    def make(self, request):
        with self.lock:
            number = len(self.runs) + 1
            made = {"run_id": f"run-{number}", "created_at": self.made_at(number), **request.body}
            del made["pipeline_spec"]
            self.runs.append(made)
        return made

    def list(self, request):
        (predicate,) = json.loads(request.query["filter"])["predicates"]
        assert (predicate["operation"], predicate["key"]) == ("EQUALS", "display_name")
        assert request.query["experiment_id"] == "e1"
        named = [run for run in self.runs if run["display_name"] == predicate["stringValue"]]
        return {"runs": [run | {"state": self.states.get(run["run_id"], "RUNNING")} for run in named]}

    def terminate(self, run):
        self.states[run] = "CANCELED"
        return {}

    def answers(self):
        experiments = {"experiments": [{"experiment_id": "e1", "display_name": "progan-toy-celeba"}]}
        return {
            ("GET", f"{API}/healthz"): {"multi_user": True},
            ("GET", f"{API}/experiments"): experiments,
            ("POST", f"{API}/runs"): self.make,
            ("GET", f"{API}/runs"): self.list,
            **{
                ("POST", f"{API}/runs/run-{n}:terminate"): lambda request, n=n: self.terminate(f"run-{n}")
                for n in range(1, 9)
            },
        }


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setattr(kubeflow, "SETTLE_SECONDS", 0.0)
    made = StandIn()
    with serving(made.answers()) as server:
        made.server = server
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.url)
        yield made


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


@pytest.fixture
def compiled_once(monkeypatch):
    """The pipeline is compiled for the first run, and what comes of it is used again: it takes seconds."""
    texts, really = [], compiling.compiled

    def compiled(*arguments):
        if not texts:
            texts.append(really(*arguments))
        return texts[0]

    monkeypatch.setattr(compiling, "compiled", compiled)


def test_one_run_for_each_state(finished, service, compiled_once):
    finished.change(gate={"swd_max": 5.0})
    first = told()
    assert first["decision"] == "submitted"
    assert first["url"] == f"{service.server.url}/#/runs/details/run-1"
    assert service.runs[0]["display_name"] == f"progan-toy-celeba {first['key']}"
    assert service.runs[0]["service_account"] == "progan-pipeline"
    again = told()
    assert (again["decision"], again["url"], again["key"]) == ("found", first["url"], first["key"])
    service.states["run-1"] = "SUCCEEDED"
    assert told()["decision"] == "found"
    service.states["run-1"] = "FAILED"
    assert told("--ui", "https://kubeflow.example.org/_/p")["url"].startswith(
        "https://kubeflow.example.org/_/p/#"
    )
    assert len(service.runs) == 2
    plain = CliRunner().invoke(cli.app, ["retrain", "--image", IMAGE])
    assert plain.stdout == f"{service.server.url}/#/runs/details/run-2\n"
    assert "was started before" in plain.stderr


def test_the_budget(finished, service, compiled_once):
    """The same for `progan plan`, and compared with the most that it may take."""
    finished.change(training={"seed": 5})
    planned = CliRunner().invoke(cli.app, ["plan", "--cluster", "--json"])
    totals = json.loads(planned.stdout)["totals"]
    price, hours = totals["price"]["high"], totals["hours"]["high"]
    for limit in (("--max-cost", str(price * 0.9)), ("--max-hours", str(hours * 0.9))):
        for command in (["plan", "--cluster"], ["retrain"]):
            done = CliRunner().invoke(cli.app, [*command, *limit])
            assert isinstance(done.exception, InputError)
            assert f"more than {limit[0]}" in str(done.exception)
            assert "train r0008" in done.stdout
    answer = CliRunner().invoke(cli.app, ["retrain", "--json", "--max-hours", "0"])
    assert json.loads(answer.stdout)["decision"] == "over-budget"
    assert service.server.requests == []
    enough = ("--max-cost", str(price * 1.1), "--max-hours", str(hours * 1.1))
    assert CliRunner().invoke(cli.app, ["plan", "--cluster", *enough]).exit_code == 0
    assert told(*enough)["decision"] == "submitted"


def test_two_at_once_start_one(service, monkeypatch):
    """Both look before either has made a run, and Kubeflow notes the same second for both."""
    monkeypatch.setattr(kubeflow, "SETTLE_SECONDS", 0.3)
    service.made_at = lambda number: "2026-01-01T00:00:00Z"
    both_looked = threading.Barrier(2)
    ends = []

    def trigger():
        asked = kubeflow.Kubeflow(service.server.url, kubeflow.TOKEN_OF_POD, "progan")
        assert asked.first_run("e1", "faces key") is None
        both_looked.wait(10)
        made = V2beta1Run(experiment_id="e1", display_name="faces key", pipeline_spec={})
        mine = asked.client._run_api.run_service_create_run(run=made).run_id
        ends.append((mine, asked.settle("e1", "faces key", mine)))

    threads = [threading.Thread(target=trigger) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == [("run-1", "run-1"), ("run-2", "run-1")]
    assert service.states == {"run-2": "CANCELED"}


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
