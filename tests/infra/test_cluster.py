"""infra/ on a real API server: its manifests are accepted, its rules hold, and no account may do too much."""

import copy
import json
from dataclasses import replace

import pytest
from kubernetes.client import ApiException

from pipelines.compiling import compiled
from pipelines.profile import load_profile
from progan import config
from tests.cluster import cluster_in
from tests.conftest import shrunk_params
from tests.infra.kubeflow_pods import task_pods
from tests.infra.overlays import INFRA, RUNS_NAMESPACE, of_kind, workloads

pytestmark = pytest.mark.cluster
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="module")
def cluster(overlay, resources, tmp_path_factory):
    """A cluster with the overlay and a namespace `kubeflow` that is as strict as ours."""
    with cluster_in(tmp_path_factory.mktemp(overlay)) as cluster:
        cluster.apply(namespace("kubeflow", RESTRICTED))
        for resource in resources:
            cluster.apply(resource)
        yield cluster


on_gpus = pytest.mark.parametrize("overlay", ["gpu"], indirect=True, scope="session")


def namespace(name, labels):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod(name, namespace, spec):
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def by_name(containers):
    return {container["name"]: container for container in containers}


def refusal(cluster, manifest, **options):
    """The server's message when it refuses a manifest."""
    with pytest.raises(ApiException) as caught:
        cluster.apply(manifest, **options)
    return json.loads(caught.value.body)["message"]


def workload_pods(cluster, resources):
    """The pods of Deployments and StatefulSets, as their controllers create them."""
    for workload in workloads(resources):
        template, metadata = workload["spec"]["template"], workload["metadata"]
        cluster.apply(account("default", metadata["namespace"]))
        spec = copy.deepcopy(template["spec"])
        for claim in workload["spec"].get("volumeClaimTemplates", []):
            name = claim["metadata"]["name"]
            source = {"claimName": f"{name}-{metadata['name']}-0"}
            spec.setdefault("volumes", []).append({"name": name, "persistentVolumeClaim": source})
        yield pod(f"{metadata['name']}-0", metadata["namespace"], spec)


def account(name, namespace):
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def test_a_manifest_with_an_unknown_field_is_refused(cluster, resources):
    """Without this, it would prove nothing that the others are accepted."""
    mlflow = copy.deepcopy(of_kind(resources, "Deployment")[0])
    mlflow["spec"]["replica"] = 1
    assert ".spec.replica: field not declared in schema" in refusal(cluster, mlflow)


def test_the_pods_of_the_platform_are_accepted(cluster, resources):
    pods = list(workload_pods(cluster, resources))
    assert {"mlflow-0", "postgres-0"} <= {pod["metadata"]["name"] for pod in pods}
    for manifest in pods:
        cluster.apply(manifest, dry_run=True)


def test_a_pod_that_is_not_restricted_is_refused(cluster, resources):
    mlflow = next(pod for pod in workload_pods(cluster, resources) if pod["metadata"]["name"] == "mlflow-0")
    mlflow["spec"]["securityContext"].update(runAsUser=0)
    message = refusal(cluster, mlflow, dry_run=True)
    assert 'violates PodSecurity "restricted:latest"' in message
    assert "runAsUser=0" in message


@pytest.fixture(scope="module")
def tasks(overlay):
    """The pods of a run, for the project's profile (GPUs, spot nodes, a claim, secrets) with a queue."""
    profile = load_profile(INFRA / "cluster.yaml", f"registry.example.org/progan@sha256:{'ab' * 32}")
    profile = replace(profile, queue="gpus")
    text = compiled(config.parse(shrunk_params(), "params.yaml"), profile, "d" * 64)
    return task_pods(text, RUNS_NAMESPACE[overlay], profile.service_account)


def test_the_pods_of_a_run_are_accepted_with_all_that_the_profile_asks_for(cluster, tasks):
    for manifest in tasks.values():
        cluster.apply(manifest, dry_run=True)
    admitted = cluster.apply(tasks["train r0008"], dry_run=True)
    assert admitted["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    spec = admitted["spec"]
    main = by_name(spec["containers"])["main"]
    assert main["resources"] == {
        "requests": main["resources"]["requests"] | {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"},
        "limits": {"memory": "64Gi", "nvidia.com/gpu": "1"},
    }
    assert spec["activeDeadlineSeconds"] == 24 * 3600
    assert spec["nodeSelector"]["nvidia.com/gpu.product"] == "NVIDIA-A100-SXM4-80GB"
    assert {"nvidia.com/gpu", "cloud.google.com/gke-spot"} <= {entry["key"] for entry in spec["tolerations"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    assert volumes["progan-data"]["persistentVolumeClaim"] == {"claimName": "progan-data"}
    mounted = {mount["mountPath"]: mount["name"] for mount in main["volumeMounts"]}
    assert "/var/run/secrets/kubernetes.io/serviceaccount" in mounted  # the launcher's token
    assert (mounted["/dev/shm"], mounted["/tmp"], mounted["/progan/data"]) == (
        "shm",
        "scratch",
        "progan-data",
    )
    password = next(entry for entry in main["env"] if entry["name"] == "MLFLOW_TRACKING_PASSWORD")
    assert password["valueFrom"] == {"secretKeyRef": {"name": "progan-mlflow", "key": "password"}}
    assert main["image"].endswith(f"@sha256:{'ab' * 32}")


def test_a_claim_whose_name_cannot_be_a_volumes(cluster, tasks):
    """The profile refuses such a name, as a pod that mounts the claim is refused."""
    manifest = json.loads(json.dumps(tasks["gate"]).replace("progan-data", "progan.data"))
    assert "must not contain dots" in refusal(cluster, manifest, dry_run=True)


def test_a_task_that_may_be_root_is_refused(cluster, tasks):
    """runAsNonRoot must be set by the pipeline or by Kubeflow's administrator: it is not the default."""
    manifest = copy.deepcopy(tasks["gate"])
    del by_name(manifest["spec"]["containers"])["main"]["securityContext"]["runAsNonRoot"]
    assert 'container "main" must set securityContext.runAsNonRoot=true' in refusal(
        cluster, manifest, dry_run=True
    )


@on_gpus
def test_quotas_hold_and_argos_containers_get_default_limits(cluster, resources, tasks):
    [quota] = of_kind(resources, "ResourceQuota")
    hard = quota["spec"]["hard"]
    cluster.set_status(quota, hard=hard, used=dict.fromkeys(hard, "0"))
    admitted = cluster.apply(tasks["train r0008"], dry_run=True)["spec"]
    for container in (by_name(admitted["initContainers"])["init"], by_name(admitted["containers"])["wait"]):
        assert container["resources"]["limits"] == {"memory": "1Gi"}
        assert container["resources"]["requests"]["ephemeral-storage"] == "1Gi"
    launcher = by_name(admitted["initContainers"])["kfp-launcher"]
    assert launcher["resources"]["limits"] == {"cpu": "500m", "memory": "256Mi"}
    cluster.set_status(quota, hard=hard, used=dict.fromkeys(hard, "0") | {"requests.nvidia.com/gpu": "8"})
    message = refusal(cluster, tasks["train r0008"], dry_run=True)
    assert "exceeded quota: progan, requested: requests.nvidia.com/gpu=1" in message
    cluster.apply(tasks["gate"], dry_run=True)
    cluster.set_status(quota, hard=hard, used=dict.fromkeys(hard, "0"))


RUNS_MAY = [
    ("create", "argoproj.io", "workflowtaskresults", ""),
    ("patch", "argoproj.io", "workflowtaskresults", ""),
    ("list", "argoproj.io", "workflowtasksets", ""),
    ("watch", "argoproj.io", "workflowtasksets", ""),
    ("patch", "argoproj.io", "workflowtasksets/status", ""),
    ("get", "", "configmaps", "kfp-launcher"),
    ("get", "", "secrets", "mlpipeline-minio-artifact"),
]
RUNS_MAY_NOT = [
    ("get", "", "secrets", "progan-mlflow"),
    ("get", "", "secrets", "progan-s3"),
    ("list", "", "secrets", ""),
    ("update", "", "secrets", "mlpipeline-minio-artifact"),
    ("get", "", "configmaps", "mlflow-auth"),
    ("get", "", "pods", ""),
    ("create", "", "pods", ""),
    ("create", "", "pods/exec", ""),
    ("delete", "", "persistentvolumeclaims", "progan-data"),
    ("create", "", "serviceaccounts/token", "progan-pipeline"),
    ("create", "argoproj.io", "workflows", ""),
    ("create", "rbac.authorization.k8s.io", "roles", ""),
    ("bind", "rbac.authorization.k8s.io", "roles", ""),
    ("impersonate", "", "users", ""),
]


def may(cluster, token, namespace, verb, group, resource, name):
    """Whether the API server allows this to the holder of the token."""
    kind, _, subresource = resource.partition("/")
    action = {"verb": verb, "group": group, "resource": kind, "subresource": subresource, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": action | {"namespace": namespace}},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return cluster.ask("POST", path, review, token=token)["status"]["allowed"]


def test_the_pipelines_account_may_do_its_work_and_nothing_else(overlay, cluster):
    namespace = RUNS_NAMESPACE[overlay]
    token = cluster.token_of("progan-pipeline", namespace)
    assert [action for action in RUNS_MAY if not may(cluster, token, namespace, *action)] == []
    assert [action for action in RUNS_MAY_NOT if may(cluster, token, namespace, *action)] == []
    assert [action for action in RUNS_MAY if may(cluster, token, "kube-system", *action)] == []
