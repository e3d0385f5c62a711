"""`progan submit` against a small server that stands in for the API of Kubeflow Pipelines.

It answers the few calls that a submission makes, in the service's own JSON; it runs nothing.
"""

import json

import pytest
import yaml
from typer.testing import CliRunner

from pipelines import cli, kubeflow
from progan.errors import InputError, Interrupted, Unavailable
from tests.conftest import IMAGE, ROOT
from tests.pipelines.http_server import API, serving

PROFILE = ("--profile", str(ROOT / "infra/cluster.yaml"), "--image", IMAGE)


@pytest.fixture
def service():
    """The server; runs that it is asked to make are pending, running, then what `states` ends with."""
    states = ["PENDING", "RUNNING", "SUCCEEDED"]
    experiments = []

    def make_experiment(request):
        experiments.append({"experiment_id": "e1", **request.body})
        return experiments[-1]

    answers = {
        ("GET", f"{API}/healthz"): {"multi_user": True},
        ("GET", f"{API}/experiments"): lambda request: {"experiments": experiments},
        ("POST", f"{API}/experiments"): make_experiment,
        ("POST", f"{API}/runs"): lambda request: {"run_id": "run-1", **request.body},
        ("GET", f"{API}/runs/run-1"): lambda request: {
            "run_id": "run-1",
            "state": states.pop(0) if len(states) > 1 else states[0],
        },
    }
    with serving(answers) as server:
        server.states = states
        yield server


def submitted(project, server, *options):
    return project.run("progan", "submit", "--host", server.url, *PROFILE, *options)


def test_a_run_is_made_and_its_address_printed(new_project, service, tmp_path):
    (tmp_path / "token").write_text("secret-token\n")
    project = new_project()
    done = submitted(project, service, "--token-file", str(tmp_path / "token"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{service.url}/#/runs/details/run-1\n"
    assert {request.headers.get("authorization") for request in service.requests} == {"Bearer secret-token"}
    (experiment,) = service.asked("POST", f"{API}/experiments")
    assert experiment.body["display_name"] == "progan-toy-celeba"
    assert experiment.body["namespace"] == "progan"
    (run,) = service.asked("POST", f"{API}/runs")
    assert run.body["experiment_id"] == "e1"
    assert run.body["service_account"] == "progan-pipeline"
    assert project.run("progan", "compile", *PROFILE).returncode == 0
    spec, platform = yaml.load_all((project.root / "pipeline.yaml").read_text(), yaml.CSafeLoader)
    assert run.body["pipeline_spec"] == {"pipeline_spec": spec, "platform_spec": platform}
    assert "secret-token" not in done.stdout + done.stderr


def test_an_experiment_that_is_there_a_single_user_and_another_address(new_project, service):
    service.answers["GET", f"{API}/healthz"] = {"multi_user": False}
    there = {"experiments": [{"experiment_id": "e7", "display_name": "faces"}]}
    service.answers["GET", f"{API}/experiments"] = there
    done = submitted(
        new_project(), service, "--experiment", "faces", "--ui", "https://kubeflow.example.org/_/p/"
    )
    assert done.stdout == "https://kubeflow.example.org/_/p/#/runs/details/run-1\n"
    assert service.asked("POST", f"{API}/experiments") == []
    assert "namespace" not in service.asked("GET", f"{API}/experiments")[0].query
    (run,) = service.asked("POST", f"{API}/runs")
    assert run.body["experiment_id"] == "e7"


def test_what_a_machine_reads(new_project, service, monkeypatch):
    """And how the run ended; people are told on the way."""
    monkeypatch.setattr(kubeflow, "POLL_SECONDS", 0.01)
    monkeypatch.chdir(new_project().root)
    service.states[-1] = "FAILED"
    done = CliRunner().invoke(cli.app, ["submit", "--host", service.url, *PROFILE, "--json", "--wait"])
    url = f"{service.url}/#/runs/details/run-1"
    assert json.loads(done.stdout) == {"run": "run-1", "url": url, "handed_over": [], "state": "FAILED"}
    assert done.stderr.splitlines()[-4:] == [url, "PENDING", "RUNNING", "FAILED"]
    assert done.exit_code == 1


def test_waiting(new_project, service, monkeypatch):
    """In this process, so that it need not wait as long between two questions."""
    monkeypatch.setattr(kubeflow, "POLL_SECONDS", 0.01)
    monkeypatch.chdir(new_project().root)
    done = CliRunner().invoke(cli.app, ["submit", "--host", service.url, *PROFILE, "--wait"])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1:] == ["PENDING", "RUNNING", "SUCCEEDED"]


def test_whoever_stops_waiting_stops_no_run(new_project, service, monkeypatch):
    def ctrl_c(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(kubeflow.time, "sleep", ctrl_c)
    monkeypatch.chdir(new_project().root)
    done = CliRunner().invoke(cli.app, ["submit", "--host", service.url, *PROFILE, "--wait"])
    url = f"{service.url}/#/runs/details/run-1"
    assert str(done.exception) == f"run-1: stopped waiting, but the run goes on: {url}"
    assert isinstance(done.exception, Interrupted)


def test_waiting_outlasts_a_service_that_is_away(service, monkeypatch):
    monkeypatch.setattr(kubeflow, "POLL_SECONDS", 0.01)
    answers = iter([(503, {}), (503, {}), {"state": "RUNNING"}, (500, {}), {"state": "SUCCEEDED"}])
    service.answers["GET", f"{API}/runs/run-1"] = lambda request: next(answers)
    asked = kubeflow.Kubeflow(service.url, kubeflow.TOKEN_OF_POD, "progan")
    assert asked.namespace == "progan"
    assert asked.wait("run-1", "address") == "SUCCEEDED"


def test_what_can_be_wrong(new_project, service, tmp_path, monkeypatch):
    monkeypatch.chdir(new_project().root)

    def told(*options, error=InputError):
        done = CliRunner().invoke(cli.app, ["submit", *PROFILE, *options])
        assert isinstance(done.exception, error), done.exception
        return str(done.exception)

    here = ("--host", service.url)
    assert "on a cluster: image: progan:latest has no digest" in told(*here, "--image", "progan:latest")
    assert service.requests == []
    assert "http://127.0.0.1:9: " in told("--host", "http://127.0.0.1:9", error=Unavailable)
    assert "must begin with http:// or https://" in told("--host", "kubeflow")
    assert "nowhere: no such file" in told(*here, "--token-file", str(tmp_path / "nowhere"))
    service.answers["GET", f"{API}/healthz"] = (401, {})
    assert "401" in told(*here)
    service.answers["GET", f"{API}/healthz"] = (503, {})
    assert "503" in told(*here, error=Unavailable)
    service.answers["GET", f"{API}/healthz"] = {"multi_user": True}
    service.answers["POST", f"{API}/runs"] = (403, {"message": "not allowed in namespace progan"})
    line = told(*here)
    assert "403" in line
    assert "not allowed in namespace progan" in line
