"""`progan doctor cluster` against a small server that answers as the Kubernetes API does.

The client is Kubernetes' own; the server has the objects of a cluster that the profile fits, and each test
takes something from it.
"""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipelines import cli
from progan.errors import InputError
from tests.pipelines.http_server import serving

ROOT = Path(__file__).parents[2]
IN_NAMESPACE = "/api/v1/namespaces/progan"
CARD = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def node(name, gpus, labels=CARD, taints=(TAINT,)):
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", **labels}},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": {"cpu": "31850m", "memory": "126000000Ki", "nvidia.com/gpu": str(gpus)}},
    }


def pod(node_name, gpus, phase="Running"):
    resources = {"requests": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
    return {
        "metadata": {"name": "busy"},
        "spec": {"nodeName": node_name, "containers": [{"name": "c", "resources": resources}]},
        "status": {"phase": phase},
    }


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
        ("GET", f"{IN_NAMESPACE}/persistentvolumeclaims/progan-data"): {"status": {"phase": "Bound"}},
        ("GET", f"{IN_NAMESPACE}/resourcequotas"): {"items": []},
        ("GET", f"{IN_NAMESPACE}/services/mlflow:5000/proxy/health"): {},
        ("GET", "/api/v1/nodes"): {"items": [node("a", 1), node("cpu", 0, {}, ())]},
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
        "✓ service account progan-pipeline: is there",
        "✓ secret progan-mlflow: has every key",
        "✓ volume claim progan-data: is bound",
        "✓ GPUs for r0004, r0008, r0016: 1 × NVIDIA-A100-SXM4-80GB wanted, 1 free in 1 nodes",
        "✓ quota: none is set",
        "✓ MLflow at http://mlflow.progan:5000: answers",
    ]
    assert {request.headers["authorization"] for request in cluster.requests} == {"Bearer kube-token"}


def test_what_a_machine_reads(cluster):
    cluster.answers["GET", "/version/"] = (500, {})
    lines, error = examined(cluster, "--json")
    assert json.loads("\n".join(lines)) == [
        {"passed": False, "text": "API: answers 500 Internal Server Error"}
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


def quota(hard, used):
    item = {"metadata": {"name": "team"}, "status": {"hard": hard, "used": used}}
    return answer(f"{IN_NAMESPACE}/resourcequotas", {"items": [item]})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (gone(IN_NAMESPACE), "namespace progan: is not there"),
        (answer(IN_NAMESPACE, (403, {})), "namespace progan: you may not look at it"),
        (
            gone(f"{IN_NAMESPACE}/serviceaccounts/progan-pipeline"),
            "service account progan-pipeline: is not there",
        ),
        (gone(f"{IN_NAMESPACE}/secrets/progan-mlflow"), "secret progan-mlflow: is not there"),
        (
            answer(f"{IN_NAMESPACE}/secrets/progan-mlflow", {"data": {"username": "bWU="}}),
            "secret progan-mlflow: has no password; add what the profile reads of it",
        ),
        (
            answer(f"{IN_NAMESPACE}/persistentvolumeclaims/progan-data", {"status": {"phase": "Pending"}}),
            "volume claim progan-data: is Pending; a pod that mounts it waits for ever",
        ),
        (nodes(node("cpu", 0, {}, ())), "GPUs for r0004, r0008, r0016: no node has 1 × NVIDIA"),
        (nodes(node("other", 8, {"nvidia.com/gpu.product": "T4"})), "no node has 1 × NVIDIA-A100-SXM4-80GB"),
        (
            nodes(node("a", 8, taints=({"key": "team", "value": "x", "effect": "NoExecute"},))),
            "a has the taint team=x:NoExecute; tolerate it in the profile",
        ),
        (
            answer("/api/v1/pods", {"items": [pod("a", 1)]}),
            "1 × NVIDIA-A100-SXM4-80GB wanted, 0 free in one of 1 nodes: it waits",
        ),
        (
            quota({"requests.nvidia.com/gpu": "4"}, {"requests.nvidia.com/gpu": "4"}),
            "quota: team allows requests.nvidia.com/gpu 4, 4 of it used; a pod needs 1",
        ),
        (
            quota({"requests.memory": "100Gi"}, {"requests.memory": "60Gi"}),
            "quota: team allows requests.memory 100Gi, 60Gi of it used; a pod needs",
        ),
        (
            gone(f"{IN_NAMESPACE}/services/mlflow:5000/proxy/health"),
            "MLflow at http://mlflow.progan:5000: is not there",
        ),
        (lambda server: server.profile.update(mlflow="http://127.0.0.1:9"), "127.0.0.1:9: does not answer"),
        (
            lambda server: server.profile.update(mlflow="https://tracking.tools.svc.cluster.local"),
            "MLflow at https://tracking.tools.svc.cluster.local: is not there",
        ),
        (lambda server: server.profile.update(queue="gpus"), "queue gpus: is not there"),
    ],
)  # fmt: skip
def test_what_is_missing(cluster, change, told):
    change(cluster)
    lines, error = examined(cluster)
    failed = [line for line in lines if line.startswith("✗")]
    assert len(failed) == 1, lines
    assert told in failed[0]
    assert error == f"1 of {len(lines)} checks failed, see above"


@pytest.mark.parametrize(
    ("pods", "free"),
    [
        ([], 16),
        ([pod("a", 3), pod("b", 8, "Succeeded"), pod("b", 0), pod("cpu", 2)], 13),
        ([pod("a", 4), pod("a", 4)], 8),
    ],
)
def test_free_gpus_are_counted_by_node(cluster, pods, free):
    nodes(node("a", 8), node("b", 8))(cluster)
    answer("/api/v1/pods", {"items": pods})(cluster)
    cluster.profile["pods"]["r0004"]["gpus"] = 8
    lines, _ = examined(cluster)
    (line,) = [line for line in lines if "GPUs for" in line]
    assert line.endswith(f"8 × NVIDIA-A100-SXM4-80GB wanted, {free} free in 2 nodes")


def test_eight_free_gpus_in_two_nodes_are_not_eight_in_one(cluster):
    nodes(node("a", 8), node("b", 8))(cluster)
    answer("/api/v1/pods", {"items": [pod("a", 4), pod("b", 4)]})(cluster)
    cluster.profile["pods"]["r0004"]["gpus"] = 8
    lines, _ = examined(cluster)
    assert any(
        "8 × NVIDIA-A100-SXM4-80GB wanted, 4 free in one of 2 nodes: it waits" in line for line in lines
    )


def test_a_quota_with_room(cluster):
    gpus, memory = "requests.nvidia.com/gpu", "requests.memory"
    quota({gpus: "2", memory: "1Ti"}, {gpus: "1", memory: "1Gi"})(cluster)
    assert "✓ quota: 1 leave room for every pod" in examined(cluster)[0]


def test_the_object_store(cluster, monkeypatch):
    """An S3 address is asked for its bucket; 403 and silence are told apart."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", cluster.url)
    cluster.profile["storage"]["snapshots"] = "s3://faces/snapshots"
    cluster.profile["storage"]["datasets"] = "s3://data/faces"
    cluster.answers["HEAD", "/data"] = {}
    cluster.answers["HEAD", "/faces"] = {}
    lines = ["✓ storage s3://data/faces: answers", "✓ storage s3://faces/snapshots: answers"]
    assert examined(cluster)[0][-2:] == lines
    cluster.answers["HEAD", "/faces"] = (403, {})
    assert "✗ storage s3://faces/snapshots: answers 403; check name and credentials" in examined(cluster)[0]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert any("✗ storage s3://faces/snapshots: does not answer" in line for line in examined(cluster)[0])


def test_no_cluster(cluster, monkeypatch, tmp_path):
    cluster.answers["GET", "/version/"] = (401, {})
    assert examined(cluster) == (["✗ API: the token is not accepted"], "1 of 1 checks failed, see above")
    kubeconfig = Path("kubeconfig").read_text()
    Path("kubeconfig").write_text(kubeconfig.replace(cluster.url, "http://127.0.0.1:9"))
    lines, _ = examined(cluster)
    assert len(lines) == 1
    assert lines[0].startswith("✗ API: does not answer")
    assert "object with name other" in examined(cluster, "--context", "other")[1]
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert examined(cluster)[1].startswith("no cluster to look at: ")
