"""`progan doctor cluster` against a small server that answers as the Kubernetes API does.

The client is Kubernetes' own; the server has the objects of a cluster that the profile fits, and each test
takes something from it: one of each check, and what a real server does not do at will. All else is asked of a
real one, in test_doctor_on_a_cluster.py.
"""

import json
from pathlib import Path

import boto3
import pytest
import yaml
from typer.testing import CliRunner

from pipelines import cli
from progan.errors import InputError
from tests.pipelines.http_server import serving

ROOT = Path(__file__).parents[2]
IN_NAMESPACE = "/api/v1/namespaces/progan"
CLAIM = f"{IN_NAMESPACE}/persistentvolumeclaims/progan-data"
CARD = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def node(name, gpus, labels=CARD, taints=(TAINT,)):
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", **labels}},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": {"cpu": "31850m", "memory": "126000000Ki", "nvidia.com/gpu": str(gpus)}},
    }


def pod(node_name, gpus):
    resources = {"requests": {"nvidia.com/gpu": str(gpus)}}
    return {
        "metadata": {"name": "busy"},
        "spec": {"nodeName": node_name, "containers": [{"name": "c", "resources": resources}]},
        "status": {"phase": "Running"},
    }


def group(name, version):
    versions = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [versions], "preferredVersion": versions}


@pytest.fixture
def cluster(tmp_path, monkeypatch, small_params):
    """The server, with a project, its profile and a kubeconfig that lead to it."""
    answers = {
        ("GET", "/version/"): {"gitVersion": "v1.33.1", "major": "1", "minor": "33"} | dict.fromkeys(
            ("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "platform"), ""
        ),
        ("GET", IN_NAMESPACE): {"metadata": {"name": "progan"}, "status": {"phase": "Active"}},
        ("GET", f"{IN_NAMESPACE}/serviceaccounts/progan-pipeline"): {"metadata": {"name": "progan-pipeline"}},
        ("GET", f"{IN_NAMESPACE}/secrets/progan-mlflow"): {"data": {"username": "bWU=", "password": "bWU="}},
        ("GET", CLAIM): {"spec": {}, "status": {"phase": "Bound"}},
        ("GET", "/apis/"): {"groups": [group("apps", "v1")]},
        ("POST", f"{IN_NAMESPACE}/pods"): {},
        ("GET", f"{IN_NAMESPACE}/services/mlflow:5000/proxy/health"): {},
        ("GET", "/api/v1/nodes"): {"items": [node("a", 1), {**node("cpu", 0), "metadata": {"name": "cpu"}}]},
        ("GET", "/api/v1/pods"): {"items": []},
    }  # fmt: skip
    profile = yaml.safe_load((ROOT / "infra/cluster.yaml").read_text())
    for entry in profile["pods"].values():
        entry["spot"] = False
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(small_params, sort_keys=False))
    with serving(answers) as server:
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me"}}],
            "clusters": [{"name": "test", "cluster": {"server": server.url}}],
            "users": [{"name": "me", "user": {"token": "kube-token"}}],
        }
        Path("kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        server.profile = profile
        yield server


def examined(server, *options):
    """The lines of the checks, and the error at the end if there is one."""
    Path("cluster.yaml").write_text(yaml.safe_dump(server.profile, sort_keys=False))
    done = CliRunner().invoke(cli.app, ["doctor", "cluster", "--profile", "cluster.yaml", *options])
    assert done.exception is None or isinstance(done.exception, InputError), done.exception
    return done.stdout.splitlines(), str(done.exception or "")


def test_a_cluster_that_fits(cluster):
    lines, error = examined(cluster)
    assert error == ""
    assert lines == [
        "✓ API: Kubernetes v1.33.1 answers",
        "✓ namespace progan: active",
        "✓ service account progan-pipeline: exists",
        "✓ secret progan-mlflow: has every key",
        "✓ volume claim progan-data: is bound",
        "✓ GPUs for r0004, r0008, r0016: 1 × NVIDIA-A100-SXM4-80GB wanted, 1 free in 1 nodes",
        "✓ pods: every size is admitted",
        "✓ MLflow at http://mlflow.progan:5000: answers",
    ]
    assert {request.headers["authorization"] for request in cluster.requests} == {"Bearer kube-token"}
    stages, training = cluster.asked("POST", f"{IN_NAMESPACE}/pods")
    assert stages.query == training.query == {"dryRun": "All"}, "nothing is made"
    (container,) = training.body["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "64Gi", "nvidia.com/gpu": "1"}


def test_what_a_machine_reads(cluster):
    cluster.answers["GET", "/version/"] = (500, {})
    lines, error = examined(cluster, "--json")
    assert json.loads("\n".join(lines)) == [
        {"passed": False, "text": "API: answers 500: Internal Server Error"}
    ]
    assert error == "1 of 1 checks failed, see above"


def gone(*paths):
    def change(server):
        for path in paths:
            del server.answers["GET", path]

    return change


def answer(path, value):
    return lambda server: server.answers.update({("GET", path): value})


def nodes(*found):
    return answer("/api/v1/nodes", {"items": list(found)})


def refuse(status, message):
    said = (status, {"message": message})
    return lambda server: server.answers.update({("POST", f"{IN_NAMESPACE}/pods"): said})


def queue(*groups):
    def change(server):
        server.profile["queue"] = "gpus"
        server.answers["GET", "/apis/"] = {"groups": list(groups)}

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (answer(IN_NAMESPACE, (403, {})), "namespace progan: you have no permission to read it"),
        (
            gone(f"{IN_NAMESPACE}/serviceaccounts/progan-pipeline"),
            "service account progan-pipeline: does not exist",
        ),
        (
            answer(f"{IN_NAMESPACE}/secrets/progan-mlflow", {"data": {"username": "bWU="}}),
            "secret progan-mlflow: has no password; add the keys that the profile reads",
        ),
        (
            answer(CLAIM, {"spec": {}, "status": {"phase": "Lost"}}),
            "progan-data: is Lost, without a storage class; a pod that mounts it waits forever",
        ),
        (nodes(node("other", 8, {"nvidia.com/gpu.product": "T4"})), "no node has 1 × NVIDIA-A100-SXM4-80GB"),
        (
            nodes(node("a", 8, taints=({"key": "team", "value": "x", "effect": "NoExecute"},))),
            "a has the taint team=x:NoExecute; tolerate it in the profile",
        ),
        (refuse(500, "failed calling webhook"), "✗ pods: stages: failed calling webhook"),
        (lambda server: server.profile.update(mlflow="http://127.0.0.1:9"), "127.0.0.1:9: does not answer"),
        (
            lambda server: server.profile.update(mlflow="https://tracking.tools.svc.cluster.local"),
            "MLflow at https://tracking.tools.svc.cluster.local: does not exist",
        ),
        (queue(group("kueue.x-k8s.io", "v1beta1")), "queue gpus: does not exist"),
    ],
)  # fmt: skip
def test_what_is_missing(cluster, change, told):
    change(cluster)
    lines, error = examined(cluster)
    failed = [line for line in lines if line.startswith("✗")]
    assert len(failed) == 1, lines
    assert told in failed[0]
    assert error == f"1 of {len(lines)} checks failed, see above"


def test_a_queue_in_the_version_that_an_older_cluster_has(cluster):
    queue(group("kueue.x-k8s.io", "v1beta1"))(cluster)
    path = "/apis/kueue.x-k8s.io/v1beta1/namespaces/progan/localqueues/gpus"
    answer(path, {"metadata": {"name": "gpus"}})(cluster)
    assert "✓ queue gpus: exists" in examined(cluster)[0]


@pytest.mark.parametrize(
    ("mlflow", "path"),
    [
        ("http://mlflow.progan/behind", f"{IN_NAMESPACE}/services/mlflow:80/proxy/behind/health"),
        ("https://mlflow.progan.svc:8443", f"{IN_NAMESPACE}/services/https:mlflow:8443/proxy/health"),
    ],
)
def test_mlflow_behind_other_addresses(cluster, mlflow, path):
    cluster.profile["mlflow"] = mlflow
    answer(path, {})(cluster)
    assert f"✓ MLflow at {mlflow}: answers" in examined(cluster)[0]


def test_eight_free_gpus_in_two_nodes_are_not_eight_in_one(cluster):
    nodes(node("a", 8), node("b", 8))(cluster)
    answer("/api/v1/pods", {"items": [pod("a", 4), pod("b", 4)]})(cluster)
    cluster.profile["pods"]["r0004"]["gpus"] = 8
    lines, _ = examined(cluster)
    waits = "8 × NVIDIA-A100-SXM4-80GB wanted, at most 4 free in one of 2 nodes; it would wait"
    assert any(waits in line for line in lines)


def test_the_object_store(cluster, storage, bucket, monkeypatch):
    """An S3 address is asked for its bucket; one that is not there, refusal and silence are told apart."""
    for name, value in storage.environment.items():
        monkeypatch.setenv(name, value)
    snapshots = f"s3://{bucket}/snapshots"
    cluster.profile["storage"] |= {"snapshots": snapshots, "datasets": "s3://no-such-bucket"}
    lines, error = examined(cluster)
    assert lines[-2:] == [
        f"✓ storage {snapshots}: answers",
        "✗ storage s3://no-such-bucket: answers 404; check name and credentials",
    ]
    assert error == f"1 of {len(lines)} checks failed, see above"
    cluster.profile["storage"]["datasets"] = "/progan/data"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers the right one
    assert examined(cluster)[0][-1] == f"✗ storage {snapshots}: answers 403; check name and credentials"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert examined(cluster)[0][-1].startswith(f"✗ storage {snapshots}: does not answer (")


def test_no_cluster(cluster, monkeypatch, tmp_path):
    kubeconfig = Path("kubeconfig").read_text()
    Path("kubeconfig").write_text(kubeconfig.replace(cluster.url, "http://127.0.0.1:9"))
    (line,), _ = examined(cluster)
    assert line.startswith("✗ API: does not answer")
    assert "object with name other" in examined(cluster, "--context", "other")[1]
    Path("folder").mkdir()
    for name, text in {"yaml": "{", "text": "a", "number": "clusters: 3"}.items():
        Path(name).write_text(text)
    for name in ("none", "folder", "yaml", "text", "number"):
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / name))
        assert examined(cluster)[1].startswith("no cluster to check: ")
