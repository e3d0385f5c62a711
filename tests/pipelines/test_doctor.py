"""`progan doctor cluster` where no real API server answers: without one, and where it fails.

Everything else is tested on a real one, in test_doctor_on_a_cluster.py.
"""

import json
from pathlib import Path

import boto3
import pytest
import yaml
from typer.testing import CliRunner

from pipelines import cli
from progan.errors import InputError
from tests.conftest import ROOT
from tests.pipelines.http_server import serving

IN_NAMESPACE = "/api/v1/namespaces/progan"
VERSION = dict.fromkeys(
    ("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "major", "minor", "platform"), ""
)


@pytest.fixture
def server(tmp_path, monkeypatch, small_params):
    """An API server that has nothing but a version, with a project, its profile and a kubeconfig."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(small_params, sort_keys=False))
    with serving({("GET", "/version/"): VERSION | {"gitVersion": "v1.33.1"}}) as server:
        kubeconfig = {
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me"}}],
            "clusters": [{"name": "test", "cluster": {"server": server.url}}],
            "users": [{"name": "me", "user": {"token": "kube-token"}}],
        }
        Path("kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        server.profile = yaml.safe_load((ROOT / "infra/cluster.yaml").read_text())
        yield server


def examined(server, *options):
    """The lines of the checks, and the error at the end if there is one."""
    Path("cluster.yaml").write_text(yaml.safe_dump(server.profile, sort_keys=False))
    done = CliRunner().invoke(cli.app, ["doctor", "cluster", "--profile", "cluster.yaml", *options])
    assert done.exception is None or isinstance(done.exception, InputError), done.exception
    return done.stdout.splitlines(), str(done.exception or "")


def test_json(server):
    server.answers["GET", "/version/"] = (500, {})
    lines, error = examined(server, "--json")
    check = {"passed": False, "text": "API: answers 500: Internal Server Error"}
    assert json.loads("\n".join(lines)) == [check]
    assert error == "1 of 1 checks failed, see above"


def test_an_admission_webhook_that_fails(server):
    server.answers["POST", f"{IN_NAMESPACE}/pods"] = (500, {"message": "failed calling webhook"})
    assert "✗ pods: stages: failed calling webhook" in examined(server)[0]


@pytest.mark.parametrize(
    ("mlflow", "path"),
    [
        ("http://mlflow.progan/behind", f"{IN_NAMESPACE}/services/mlflow:80/proxy/behind/health"),
        ("https://mlflow.progan.svc:8443", f"{IN_NAMESPACE}/services/https:mlflow:8443/proxy/health"),
        ("http://127.0.0.1:9", None),
    ],
)
def test_mlflow_behind_other_addresses(server, mlflow, path):
    server.profile["mlflow"] = mlflow
    server.answers["GET", path] = {}
    [line] = [line for line in examined(server)[0] if "MLflow" in line]
    answer = f"✓ MLflow at {mlflow}: answers" if path else f"✗ MLflow at {mlflow}: does not answer ("
    assert line.startswith(answer)


def test_the_object_store(server, storage, bucket, monkeypatch):
    """A bucket that is missing, a refusal and silence are told apart."""
    for name, value in storage.environment.items():
        monkeypatch.setenv(name, value)
    snapshots = f"s3://{bucket}/snapshots"
    server.profile["storage"] |= {"snapshots": snapshots, "datasets": "s3://no-such-bucket"}
    assert examined(server)[0][-2:] == [
        f"✓ storage {snapshots}: answers",
        "✗ storage s3://no-such-bucket: answers 404; check name and credentials",
    ]
    server.profile["storage"]["datasets"] = "/progan/data"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers the right one
    assert examined(server)[0][-1] == f"✗ storage {snapshots}: answers 403; check name and credentials"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert examined(server)[0][-1].startswith(f"✗ storage {snapshots}: does not answer (")


def test_the_image(server):
    assert [line for line in examined(server)[0] if "image:" in line] == []
    server.profile |= {"attested": True, "image": f"127.0.0.1:9/progan@sha256:{'0' * 64}"}
    assert any(line.startswith("✗ image: does not answer (") for line in examined(server)[0])


def test_no_cluster(server, monkeypatch, tmp_path):
    kubeconfig = Path("kubeconfig").read_text()
    Path("kubeconfig").write_text(kubeconfig.replace(server.url, "http://127.0.0.1:9"))
    (line,), _ = examined(server)
    assert line.startswith("✗ API: does not answer")
    assert "object with name other" in examined(server, "--context", "other")[1]
    Path("folder").mkdir()
    for name, text in {"yaml": "{", "text": "a", "number": "clusters: 3"}.items():
        Path(name).write_text(text)
    for name in ("none", "folder", "yaml", "text", "number"):
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / name))
        assert examined(server)[1].startswith("no cluster to check: ")
