"""`progan submit` against a stand-in for the API of Kubeflow Pipelines."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from pipelines import cli, kubeflow
from pipelines.profile import load_profile
from progan import config
from progan.errors import InputError, Interrupted, Unavailable
from tests.conftest import IMAGE, ROOT
from tests.pipelines.compiled_once import compiled_once
from tests.pipelines.kubeflow_server import API, kubeflow_server

PROFILE = ROOT / "infra/cluster.yaml"


@pytest.fixture
def service(new_project, monkeypatch):
    """The stand-in, whose run is pending, running, then ends. The tests run in a project's folder."""
    monkeypatch.chdir(new_project().root)
    monkeypatch.setattr("pipelines.compiling.compiled", compiled_once)
    monkeypatch.setattr(kubeflow, "POLL_SECONDS", 0.01)
    with kubeflow_server(states={"run-1": ["PENDING", "RUNNING", "SUCCEEDED"]}) as service:
        yield service


def submit(service, *options):
    command = ["submit", "--host", service.server.url, "--profile", str(PROFILE), "--image", IMAGE]
    return CliRunner().invoke(cli.app, [*command, *options])


def page(service):
    return f"{service.server.url}/#/runs/details/run-1"


def test_a_run_is_created_and_its_address_printed(service, tmp_path):
    (tmp_path / "token").write_text("secret-token\n")
    service.token = "secret-token"
    done = submit(service, "--token-file", str(tmp_path / "token"))
    assert (done.exception, done.stdout) == (None, f"{page(service)}\n")
    assert "secret-token" not in done.output
    [experiment], [run] = service.experiments, service.runs
    assert (experiment["display_name"], experiment["namespace"]) == ("progan-toy-celeba", "progan")
    assert (run["experiment_id"], run["service_account"]) == ("e1", "progan-pipeline")
    text = compiled_once(config.load(), load_profile(PROFILE, IMAGE), "")
    spec, platform = yaml.load_all(text, yaml.CSafeLoader)
    assert run["pipeline_spec"] == {"pipeline_spec": spec, "platform_spec": platform}


def test_an_experiment_that_exists_a_single_user_and_another_address(service):
    service.multi_user = False
    service.experiments.append({"experiment_id": "e7", "display_name": "faces"})
    done = submit(service, "--experiment", "faces", "--ui", "https://kubeflow.example.org/_/p/")
    assert done.stdout == "https://kubeflow.example.org/_/p/#/runs/details/run-1\n"
    assert len(service.experiments) == 1
    assert "namespace" not in service.server.asked("GET", f"{API}/experiments")[0].query
    assert service.runs[0]["experiment_id"] == "e7"


def test_waiting(service):
    done = submit(service, "--wait")
    assert (done.exit_code, done.stdout.splitlines()[1:]) == (0, ["PENDING", "RUNNING", "SUCCEEDED"])


def test_json_tells_how_the_run_ended(service):
    """Standard output is JSON alone; people are told on the way."""
    service.states["run-1"][-1] = "FAILED"
    done = submit(service, "--json", "--wait")
    assert json.loads(done.stdout) == {
        "run": "run-1",
        "url": page(service),
        "handed_over": [],
        "state": "FAILED",
    }
    end = "progan: the run ended FAILED; submit again to go on from what there is"
    assert done.stderr.splitlines()[-5:] == [page(service), "PENDING", "RUNNING", "FAILED", end]
    assert done.exit_code == 1


def test_who_stops_waiting_stops_no_run(service, monkeypatch):
    def ctrl_c(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(kubeflow.time, "sleep", ctrl_c)
    done = submit(service, "--wait")
    assert str(done.exception) == f"run-1: stopped waiting, but the run goes on: {page(service)}"
    assert isinstance(done.exception, Interrupted)


def test_waiting_outlasts_a_service_that_is_away(service, monkeypatch):
    answers = iter([(503, {}), (503, {}), {"state": "RUNNING"}, (500, {}), {"state": "SUCCEEDED"}])
    monkeypatch.setattr(service, "get_run", lambda request, run: next(answers))
    client = kubeflow.Kubeflow(service.server.url, kubeflow.TOKEN_OF_POD, "progan", None)
    assert client.namespace == "progan"
    assert client.wait("run-1") == "SUCCEEDED"


def test_a_token_that_expires_while_waiting_is_no_end_of_the_run(service, monkeypatch):
    monkeypatch.setattr(kubeflow, "MAX_UNANSWERED", 2)
    monkeypatch.setattr(service, "get_run", lambda request, run: (401, {"message": "token expired"}))
    done = submit(service, "--wait")
    assert isinstance(done.exception, Interrupted)
    assert "does not say how it is (401: " in str(done.exception)
    assert str(done.exception).endswith(f"but the run goes on: {page(service)}")


def test_what_can_be_wrong(service, tmp_path, monkeypatch):
    def refusal(*options, error=InputError):
        done = submit(service, *options)
        assert isinstance(done.exception, error), done.exception
        return str(done.exception)

    assert "on a cluster: image: progan:latest has no digest" in refusal("--image", "progan:latest")
    assert service.server.requests == []
    assert "http://127.0.0.1:9: " in refusal("--host", "http://127.0.0.1:9", error=Unavailable)
    assert "must begin with http:// or https://" in refusal("--host", "kubeflow")
    assert "nowhere: no such file" in refusal("--token-file", str(tmp_path / "nowhere"))
    service.token = "another"
    assert "401" in refusal()
    service.token, service.has_pages = None, False
    assert "an API server without pages; give ml-pipeline-ui as --host or --ui" in refusal()
    service.has_pages = True
    for status, error in ((403, InputError), (503, Unavailable)):
        monkeypatch.setattr(service, "create_run", lambda request, s=status: (s, {"message": "not allowed"}))
        line = refusal(error=error)
        assert str(status) in line
        assert "not allowed" in line
