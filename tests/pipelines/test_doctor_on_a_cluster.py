"""`progan doctor cluster` against a real API server, by somebody who has a token and no right too many.

The cluster has the overlay `gpu` and what infra/README.md makes besides, as if its controllers were done with
all of it; each test takes something away.
"""

import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from kubernetes.client import ApiException
from typer.testing import CliRunner

from pipelines import cli
from progan.errors import InputError
from tests.cluster import Cluster, cluster_in, path_of
from tests.infra.overlays import INFRA, rendered
from tests.servers import PATIENCE, Server, free_port

pytestmark = pytest.mark.cluster
CARD = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
TEAM = {"key": "team", "value": "x", "effect": "NoExecute"}
NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
GPU, KUEUE = "nvidia.com/gpu", "kueue.x-k8s.io"
PHASES, WANTED = "r0004, r0008, r0016", "1 × NVIDIA-A100-SXM4-80GB"
IS_LOOKED_AT = [
    ("", ["namespaces", "serviceaccounts", "secrets", "persistentvolumeclaims", "services/proxy"], ["get"]),
    ("", ["configmaps"], ["get"]),
    ("apps", ["deployments"], ["get"]),
    ("", ["nodes", "pods"], ["list"]),
    ("", ["pods"], ["create"]),
    ("storage.k8s.io", ["storageclasses"], ["list"]),
    (KUEUE, ["localqueues"], ["get"]),
]


def made(kind, name, version="v1", where="progan", labels=None, **content):
    metadata = {"name": name, "namespace": where, "labels": labels}
    metadata = {key: value for key, value in metadata.items() if value}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def node(name, labels=CARD, taints=(TAINT,), **spec):
    return made("Node", name, where=None, labels=labels, spec={"taints": list(taints), **spec})


def pod(name, gpus=0, on=None):
    """One of another team's, running on a node."""
    limits = {"limits": {GPU: str(gpus)}} if gpus else {}
    spec = {"containers": [{"name": "main", "image": "busy", "resources": limits}], "nodeName": on}
    return made("Pod", name, where="team", spec=spec)


def quota(hard):
    return made("ResourceQuota", "team", spec={"hard": hard})


def kubeflow(version="2.17.0", **environment):
    """Its API server, with our patch."""
    [patch] = yaml.safe_load_all((INFRA / "kubeflow/ml-pipeline.yaml").read_text())
    [container] = patch["spec"]["template"]["spec"]["containers"]
    container["image"] = f"ghcr.io/kubeflow/kfp-api-server:{version}"
    container["env"] += [{"name": name, "value": value} for name, value in environment.items()]
    labels = {"app": "ml-pipeline"}
    patch["spec"] |= {"selector": {"matchLabels": labels}}
    patch["spec"]["template"]["metadata"] = {"labels": labels}
    return patch


def retries(**strategy):
    """The ConfigMap of Kubeflow's workflow controller."""
    data = {"templateDefaults": yaml.safe_dump({"retryStrategy": strategy})} if strategy else {}
    return made("ConfigMap", "workflow-controller-configmap", where="kubeflow", data=data)


def looking_account():
    rbac = {"version": "rbac.authorization.k8s.io/v1", "where": None}
    rules = [{"apiGroups": [group], "resources": what, "verbs": verbs} for group, what, verbs in IS_LOOKED_AT]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "doctor"}
    whose = [{"kind": "ServiceAccount", "name": "doctor", "namespace": "progan"}]
    yield made("ServiceAccount", "doctor")
    yield made("ClusterRole", "doctor", rules=rules, **rbac)
    yield made("ClusterRoleBinding", "doctor", roleRef=role, subjects=whose, **rbac)


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory):
    """What answers /health at an address that a pod could have: for the API server, no loopback could."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            address, port = probe.getsockname()[0], free_port()
    except OSError:
        pytest.skip("this machine has no address but loopback")
    folder = tmp_path_factory.mktemp("mlflow")
    (folder / "health").write_text("OK")
    command = [sys.executable, "-m", "http.server", f"--bind={address}", f"--directory={folder}", str(port)]
    server = Server(command, f"http://{address}:{port}", "/health", folder / "log", {})
    server.start()
    yield address, port
    server.stop()


@pytest.fixture(scope="module")
def everything(mlflow):
    """Each manifest, and how what it makes stands."""
    address, port = mlflow
    behind = {"kind": "Pod", "name": "mlflow-0", "namespace": "progan"}
    subset = {"addresses": [{"ip": address, "targetRef": behind}], "ports": [{"name": "http", "port": port}]}
    [deployment] = (one["spec"]["template"] for one in rendered("gpu") if one["kind"] == "Deployment")
    mlflow_pod = made("Pod", "mlflow-0", spec=deployment["spec"])
    login = {"username": "pipeline", "password": "secret"}
    return [
        *((one, _stands(one)) for one in [*rendered("gpu"), *looking_account()]),
        (made("ServiceAccount", "default"), {}),
        (made("Secret", "progan-mlflow", stringData=login), {}),
        (node("a"), {"allocatable": {"cpu": "31850m", "memory": "126000000Ki", GPU: "8"}}),
        (node("cpu", {}, ()), {"allocatable": {"cpu": "4"}}),
        (made("Namespace", "team", where=None), {}),
        (made("Namespace", "kubeflow", where=None), {}),
        (yaml.safe_load((INFRA / "kubeflow/workflow-controller.yaml").read_text()), {}),
        (kubeflow(), {}),
        (made("ServiceAccount", "default", where="team"), {}),
        (mlflow_pod, {"podIP": address, "podIPs": [{"ip": address}]}),
        (made("Endpoints", "mlflow", subsets=[subset]), {}),
    ]


def _stands(manifest):
    if manifest["kind"] == "ResourceQuota":
        return {"hard": manifest["spec"]["hard"], "used": dict.fromkeys(manifest["spec"]["hard"], "0")}
    return {"phase": "Bound"} if manifest["kind"] == "PersistentVolumeClaim" else {}


def apply(cluster, manifest, status):
    """Twice: a new node gets a taint of the API server's own, as it is not ready yet."""
    for _ in range(2 if manifest["kind"] == "Node" else 1):
        cluster.apply(manifest)
    if status:
        cluster.set_status(manifest, **status)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with cluster_in(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@dataclass
class Patient:
    """A cluster, and the profile that it is compared with."""

    cluster: Cluster
    profile: dict
    added: list = field(default_factory=list)

    def change(self, manifest, **status):
        """Something that is there already."""
        apply(self.cluster, manifest, status)

    def add(self, manifest, **status):
        """Something that is gone after the test."""
        self.added.insert(0, manifest)
        apply(self.cluster, manifest, status)

    def lose(self, kind, name, version="v1", where="progan"):
        self.cluster.delete(made(kind, name, version, where))


@pytest.fixture
def patient(whole, everything, tmp_path, monkeypatch, small_params):
    """All is well. The test runs where a project, its profile and a kubeconfig are."""
    for manifest, status in everything:
        apply(whole, manifest, status)
    profile = yaml.safe_load((INFRA / "cluster.yaml").read_text())
    for entry in profile["pods"].values():
        entry["spot"] = False
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(small_params, sort_keys=False))
    Path("kubeconfig").write_text(whole.kubeconfig(whole.token_of("doctor", "progan")))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    patient = Patient(whole, profile)
    yield patient
    for manifest in patient.added:
        whole.delete(manifest)


def examined(patient):
    """The lines of the checks, and the error at the end if there is one."""
    Path("cluster.yaml").write_text(yaml.safe_dump(patient.profile, sort_keys=False))
    done = CliRunner().invoke(cli.app, ["doctor", "cluster", "--profile", "cluster.yaml"])
    assert done.exception is None or isinstance(done.exception, InputError), done.exc_info
    return done.stdout.splitlines(), str(done.exception or "")


def failed(patient):
    lines, _ = examined(patient)
    return [line for line in lines if line.startswith("✗")]


def test_a_cluster_that_fits_and_stays_as_it_was(patient):
    pods = "/api/v1/namespaces/progan/pods"
    before = patient.cluster.ask("GET", pods)["items"]
    lines, error = examined(patient)
    assert error == ""
    assert lines == [
        f"✓ API: Kubernetes {patient.cluster.ask('GET', '/version')['gitVersion']} answers",
        "✓ namespace progan: active",
        "✓ service account progan-pipeline: exists",
        "✓ retries in workflow-controller-configmap: Always, as often as the profile says",
        "✓ Kubeflow Pipelines: 2.17.0",
        "✓ secret progan-mlflow: has every key",
        "✓ volume claim progan-data: is bound",
        f"✓ GPUs for {PHASES}: {WANTED} wanted, 8 free in 1 nodes",
        "✓ pods: every size is admitted",
        "✓ MLflow at http://mlflow.progan:5000: answers",
    ]
    assert patient.cluster.ask("GET", pods)["items"] == before


def test_who_may_not_look(patient):
    """By a token that is good, but for nothing that the doctor asks."""
    token = patient.cluster.token_of("progan-pipeline", "progan")
    Path("kubeconfig").write_text(patient.cluster.kubeconfig(token))
    lines, error = examined(patient)
    reached, *refused, pods, tracking = lines
    assert reached.startswith("✓ API: Kubernetes v1.")
    assert [
        line for line in [*refused, tracking] if not line.endswith(": you have no permission to read it")
    ] == []
    assert 'cannot create resource "pods"' in pods
    assert error == f"{len(lines) - 1} of {len(lines)} checks failed, see above"


def test_a_token_that_is_none(patient):
    Path("kubeconfig").write_text(patient.cluster.kubeconfig("guessed"))
    assert examined(patient) == (["✗ API: the token is not accepted"], "1 of 1 checks failed, see above")


def test_an_authority_that_is_another(patient):
    config = yaml.safe_load(Path("kubeconfig").read_text())
    del config["clusters"][0]["cluster"]["certificate-authority"]
    Path("kubeconfig").write_text(yaml.safe_dump(config))
    (line,) = failed(patient)
    assert line.startswith("✗ API: does not answer (")
    assert "certificate verify failed" in line


def test_namespaces(patient):
    patient.profile["namespace"] = "elsewhere"
    assert "✗ namespace elsewhere: does not exist" in failed(patient)
    leaving = made("Namespace", "leaving", where=None)
    patient.cluster.apply(leaving)
    patient.cluster.delete(leaving)  # a controller would end it
    patient.profile["namespace"] = "leaving"
    assert "✗ namespace leaving: is Terminating; nothing can be created in it" in failed(patient)


def claim(patient, name, storage_class):
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    spec |= {"storageClassName": storage_class}
    patient.profile["volumes"] = {name: "/progan/data"}
    patient.add(made("PersistentVolumeClaim", name, spec=spec), phase="Pending")


def storage_class(patient, name, binding):
    how = {"provisioner": "example.org/none", "volumeBindingMode": binding}
    patient.add(made("StorageClass", name, "storage.k8s.io/v1", where=None, **how))


def test_claims_that_wait(patient):
    """For a volume that nobody makes, or for a pod, as on kind and on most clouds."""
    claim(patient, "waits", "shared")
    told = "volume claim waits: is Pending, with the storage class shared; a pod that mounts it waits forever"
    assert failed(patient) == [f"✗ {told}"]
    storage_class(patient, "shared", "Immediate")
    assert failed(patient) == [f"✗ {told}"]
    claim(patient, "late", "standard")
    storage_class(patient, "standard", "WaitForFirstConsumer")
    assert "✓ volume claim late: is bound when a pod first mounts it" in examined(patient)[0]


def test_queues(patient):
    """Kueue's own resource, as far as the API server knows it, in whatever version the cluster has."""
    patient.profile["queue"] = "gpus"
    assert failed(patient) == ["✗ queue gpus: the cluster has no Kueue; install it, or set queue to null"]
    anything = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {"plural": "localqueues", "singular": "localqueue", "kind": "LocalQueue"}
    version = {"name": "v9", "served": True, "storage": True, "schema": anything}
    spec = {"group": KUEUE, "scope": "Namespaced", "names": names, "versions": [version]}
    api = "apiextensions.k8s.io/v1"
    patient.add(made("CustomResourceDefinition", f"localqueues.{KUEUE}", api, where=None, spec=spec))
    queue = made("LocalQueue", "gpus", f"{KUEUE}/v9", spec={"clusterQueue": "all"})
    wait_for(patient, path_of(queue).rpartition("/")[0])
    assert failed(patient) == ["✗ queue gpus: does not exist"]
    patient.change(queue)
    assert "✓ queue gpus: exists" in examined(patient)[0]


def wait_for(patient, path):
    """Until the API server serves what it has been told of."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return patient.cluster.ask("GET", path)
        except ApiException as error:
            if error.status != 404 or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda patient: patient.lose("Secret", "progan-mlflow"), "secret progan-mlflow: does not exist"),
        (lambda patient: patient.change(node("a", {})), f"GPUs for {PHASES}: no node has {WANTED} and "),
        (
            lambda patient: patient.change(node("a", taints=(TAINT, TEAM))),
            f"GPUs for {PHASES}: a has the taint team=x:NoExecute; tolerate it in the profile",
        ),
        (
            lambda patient: patient.change(node("a", taints=(TAINT, NOT_READY))),
            f"GPUs for {PHASES}: a has the taint node.kubernetes.io/not-ready:NoSchedule; it takes no pods",
        ),
        (
            lambda patient: patient.lose("Pod", "mlflow-0"),
            'MLflow at http://mlflow.progan:5000: answers 503: no endpoints available for service "mlflow',
        ),
        (lambda patient: patient.lose("Service", "mlflow"), "MLflow at http://mlflow.progan:5000: does not"),
    ],
)  # fmt: skip
def test_what_is_missing(patient, change, told):
    change(patient)
    lines, error = examined(patient)
    assert [line for line in lines if line.startswith("✗")] == [line for line in lines if told in line], lines
    assert error == f"1 of {len(lines)} checks failed, see above"


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ({}, "OnFailure, Kubeflow's default up to 2.16, does not retry a task whose pod or node vanishes"),
        (
            {"limit": "2", "retryPolicy": "OnError"},
            "OnError, Kubeflow's default from 2.17 on, does not retry a task that fails: stopped, evicted, "
            "out of memory, timed out",
        ),
        ({"limit": "2", "retryPolicy": "Always"}, "Always with the limit 2 repeats whole graphs of tasks"),
    ],
)
def test_what_kubeflow_does_not_retry(patient, strategy, told):
    patient.change(retries(**strategy))
    assert failed(patient) == [f"✗ retries in workflow-controller-configmap: {told}; apply infra/kubeflow"]


def test_the_accounts_that_kubeflow_2_18_asks_for(patient):
    patient.change(kubeflow("2.18.1"))
    assert "✓ Kubeflow Pipelines: 2.18.1" in examined(patient)[0]
    patient.change(kubeflow("2.18.1", MULTIUSER="true"))
    told = "2.18.1 needs the right to `use` serviceaccounts/progan-pipeline, which you lack"
    assert failed(patient) == [f"✗ Kubeflow Pipelines: {told}"]
    old = kubeflow("2.18.1")
    old["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "another"
    patient.change(old)
    told = "2.18.1 runs no pods as progan-pipeline, not in ALLOWEDSERVICEACCOUNTS; apply infra/kubeflow"
    assert failed(patient) == [f"✗ Kubeflow Pipelines: {told}"]


def test_an_account_that_is_missing_lets_no_pod_in(patient):
    patient.lose("ServiceAccount", "progan-pipeline")
    account, pods = failed(patient)
    assert account == "✗ service account progan-pipeline: does not exist"
    assert pods.startswith("✗ pods: stages: error looking up service account progan/progan-pipeline: ")


def test_a_secret_without_the_key(patient):
    patient.profile["secrets"]["progan-mlflow"]["MLFLOW_TRACKING_TOKEN"] = "token"
    told = "secret progan-mlflow: has no token; add the keys that the profile reads"
    assert failed(patient) == [f"✗ {told}"]


@pytest.mark.parametrize(
    ("hard", "told"),
    [
        ({f"requests.{GPU}": "0"}, f"{PHASES}: exceeded quota: team, requested: requests.nvidia.com/gpu=1,"),
        ({"pods": "0"}, "stages: exceeded quota: team, requested: pods=1, used: pods=0, limited: pods=0"),
        ({"limits.cpu": "100"}, "stages: failed quota: team: must specify limits.cpu for: main"),
    ],
)  # fmt: skip
def test_quotas(patient, hard, told):
    patient.add(quota(hard))
    assert failed(patient) == [], "no controller has looked at it yet: it holds nothing"
    patient.cluster.set_status(quota(hard), hard=hard, used=dict.fromkeys(hard, "0"))
    (line,) = failed(patient)
    assert line.startswith(f"✗ pods: {told}")


def test_limits_of_a_namespace(patient):
    largest = {"type": "Container", "max": {"memory": "32Gi"}}
    patient.add(made("LimitRange", "team", spec={"limits": [largest]}))
    told = f"pods: {PHASES}: maximum memory usage per Container is 32Gi, but limit is 64Gi"
    assert failed(patient) == [f"✗ {told}"]


def test_gpus_in_use_are_counted_by_node(patient):
    patient.add(node("b"), allocatable={GPU: "8"})
    for name, gpus, on, phase in (
        ("x", 3, "a", "Running"),
        ("y", 8, "b", "Failed"),
        ("z", 4, "b", "Pending"),
    ):
        patient.add(pod(name, gpus, on), phase=phase)
    assert f"✓ GPUs for {PHASES}: {WANTED} wanted, 9 free in 2 nodes" in examined(patient)[0]
    patient.profile["pods"]["r0004"]["gpus"] = 8
    card = WANTED.replace("1 ×", "8 ×")
    assert f"✗ GPUs for {PHASES}: {card} wanted, at most 5 free in one of 2 nodes; it would wait" in failed(
        patient
    )
