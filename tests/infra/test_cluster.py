"""infra/ on a real API server: all of it is taken, its rules hold, and nobody may do more than their work."""

import copy
import json
from dataclasses import replace

import pytest
import yaml
from kubernetes.client import ApiException

from pipelines.compiling import compiled
from pipelines.profile import load_profile
from progan import config
from tests.cluster import cluster_in
from tests.conftest import shrunk_params
from tests.infra.kubeflow import task_pods
from tests.infra.overlays import INFRA, RUNS_NAMESPACE, of_kind, workloads

pytestmark = pytest.mark.cluster
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="module")
def cluster(overlay, resources, tmp_path_factory):
    """One with the overlay on it, and nothing else but a namespace `kubeflow` as strict as ours."""
    with cluster_in(tmp_path_factory.mktemp(overlay)) as cluster:
        cluster.apply(namespace("kubeflow", RESTRICTED))
        for resource in resources:
            cluster.apply(resource)
        yield cluster


on_gpus = pytest.mark.parametrize("overlay", ["gpu"], indirect=True, scope="session")


def namespace(name, labels):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod(name, where, spec):
    metadata = {"name": name, "namespace": where}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def refusal(cluster, manifest, **options):
    """What the server says when it does not take a manifest."""
    with pytest.raises(ApiException) as caught:
        cluster.apply(manifest, **options)
    return json.loads(caught.value.body)["message"]


def workload_pods(cluster, resources):
    """The pods of Deployments and StatefulSets, as their controllers make them."""
    for one in workloads(resources):
        template, metadata = one["spec"]["template"], one["metadata"]
        cluster.apply(account("default", metadata["namespace"]))
        spec = copy.deepcopy(template["spec"])
        for claim in one["spec"].get("volumeClaimTemplates", []):
            name = claim["metadata"]["name"]
            bound = {"claimName": f"{name}-{metadata['name']}-0"}
            spec.setdefault("volumes", []).append({"name": name, "persistentVolumeClaim": bound})
        yield pod(f"{metadata['name']}-0", metadata["namespace"], spec)


def account(name, where):
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": where}}


def test_what_has_a_field_too_many_is_not_taken(cluster, resources):
    """So that taking all the others says something."""
    mlflow = copy.deepcopy(of_kind(resources, "Deployment")[0])
    mlflow["spec"]["replica"] = 1
    assert ".spec.replica: field not declared in schema" in refusal(cluster, mlflow)


def test_the_pods_of_the_platform_are_taken(cluster, resources):
    pods = list(workload_pods(cluster, resources))
    assert {"mlflow-0", "postgres-0"} <= {each["metadata"]["name"] for each in pods}
    for each in pods:
        cluster.apply(each, dry_run=True)


BREAKS = {
    "runAsUser=0": lambda spec: spec["securityContext"].update(runAsUser=0),
    "runAsNonRoot != true": lambda spec: spec["securityContext"].pop("runAsNonRoot"),
    "seccompProfile": lambda spec: spec["securityContext"].pop("seccompProfile"),
    "allowPrivilegeEscalation != false": lambda spec: first(spec).pop("allowPrivilegeEscalation"),
    "unrestricted capabilities": lambda spec: first(spec)["capabilities"].update(add=["NET_RAW"]),
    "host namespaces": lambda spec: spec.update(hostPID=True),
    "restricted volume types": lambda spec: spec["volumes"].append({"name": "d", "hostPath": {"path": "/"}}),
}


def first(spec):
    return spec["containers"][0]["securityContext"]


@pytest.mark.parametrize("broken", BREAKS)
def test_a_pod_that_is_not_restricted_is_refused(cluster, resources, broken):
    mlflow = next(
        each for each in workload_pods(cluster, resources) if each["metadata"]["name"] == "mlflow-0"
    )
    BREAKS[broken](mlflow["spec"])
    told = refusal(cluster, mlflow, dry_run=True)
    assert 'violates PodSecurity "restricted:latest"' in told
    assert broken in told


@pytest.fixture(scope="module")
def tasks(overlay):
    """The pods of a run, for the profile as it is (GPUs, spot nodes, a claim, secrets) and a queue."""
    profile = load_profile(INFRA / "cluster.yaml", f"registry.example.org/progan@sha256:{'ab' * 32}")
    profile = replace(profile, queue="gpus")
    text = compiled(config.parse(shrunk_params(), "params.yaml"), profile, "d" * 64)
    return task_pods(text, RUNS_NAMESPACE[overlay], profile.service_account)


def test_the_pods_of_a_run_are_taken_with_all_that_the_profile_promises(cluster, tasks):
    for manifest in tasks.values():
        cluster.apply(manifest, dry_run=True)
    taken = cluster.apply(tasks["train r0008"], dry_run=True)
    assert taken["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    spec = taken["spec"]
    [main] = spec["containers"]
    assert main["resources"] == {
        "requests": main["resources"]["requests"] | {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"},
        "limits": {"memory": "64Gi", "nvidia.com/gpu": "1"},
    }
    assert spec["activeDeadlineSeconds"] == 24 * 3600
    assert spec["nodeSelector"]["nvidia.com/gpu.product"] == "NVIDIA-A100-SXM4-80GB"
    assert {"nvidia.com/gpu", "cloud.google.com/gke-spot"} <= {each["key"] for each in spec["tolerations"]}
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    assert volumes["progan-data"]["persistentVolumeClaim"] == {"claimName": "progan-data"}
    mounted = {each["mountPath"]: each["name"] for each in main["volumeMounts"]}
    assert (mounted["/dev/shm"], mounted["/tmp"], mounted["/progan/data"]) == (
        "shm",
        "scratch",
        "progan-data",
    )
    password = next(each for each in main["env"] if each["name"] == "MLFLOW_TRACKING_PASSWORD")
    assert password["valueFrom"] == {"secretKeyRef": {"name": "progan-mlflow", "key": "password"}}
    assert main["image"].endswith(f"@sha256:{'ab' * 32}")


def test_a_claim_whose_name_no_volume_can_have(cluster, tasks):
    """The profile refuses it, as no pod that mounts it is taken."""
    manifest = json.loads(json.dumps(tasks["gate r0016"]).replace("progan-data", "progan.data"))
    assert "must not contain dots" in refusal(cluster, manifest, dry_run=True)


def test_a_task_that_may_be_root_is_refused(cluster, tasks):
    """What neither the pipeline nor Kubeflow's administrator says is not so by itself."""
    manifest = copy.deepcopy(tasks["gate r0016"])
    del manifest["spec"]["containers"][0]["securityContext"]["runAsNonRoot"]
    assert 'container "main" must set securityContext.runAsNonRoot=true' in refusal(
        cluster, manifest, dry_run=True
    )


@on_gpus
def test_quotas_hold_and_helpers_get_their_share(cluster, resources, tasks):
    [quota] = of_kind(resources, "ResourceQuota")
    hard = quota["spec"]["hard"]
    cluster.set_status(quota, hard=hard, used=dict.fromkeys(hard, "0"))
    taken = cluster.apply(tasks["train r0008"], dry_run=True)["spec"]
    [helper] = taken["initContainers"]
    assert helper["resources"]["limits"] == {"memory": "1Gi"}
    assert helper["resources"]["requests"]["ephemeral-storage"] == "1Gi"
    cluster.set_status(quota, hard=hard, used=dict.fromkeys(hard, "0") | {"requests.nvidia.com/gpu": "8"})
    told = refusal(cluster, tasks["train r0008"], dry_run=True)
    assert "exceeded quota: progan, requested: requests.nvidia.com/gpu=1" in told
    cluster.apply(tasks["gate r0016"], dry_run=True)
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


def may(cluster, token, where, verb, group, resource, name):
    """Whether the API server lets who has the token do this."""
    kind, _, part = resource.partition("/")
    asked = {"verb": verb, "group": group, "resource": kind, "subresource": part, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked | {"namespace": where}},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return cluster.ask("POST", path, review, token=token)["status"]["allowed"]


def test_the_pipelines_account_may_do_its_work_and_nothing_else(overlay, cluster):
    where = RUNS_NAMESPACE[overlay]
    token = cluster.token_of("progan-pipeline", where)
    assert [each for each in RUNS_MAY if not may(cluster, token, where, *each)] == []
    assert [each for each in RUNS_MAY_NOT if may(cluster, token, where, *each)] == []
    assert [each for each in RUNS_MAY if may(cluster, token, "kube-system", *each)] == []


def test_the_pipelines_account_reads_one_secret(overlay, cluster):
    where = RUNS_NAMESPACE[overlay]
    token = cluster.token_of("progan-pipeline", where)
    for name in ("mlpipeline-minio-artifact", "progan-mlflow"):
        metadata = {"name": name, "namespace": where}
        cluster.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": "x"}}
        )
    secrets = f"/api/v1/namespaces/{where}/secrets"
    assert cluster.ask("GET", f"{secrets}/mlpipeline-minio-artifact", token=token)["data"] == {"key": "eA=="}
    with pytest.raises(ApiException, match='secrets \\\\"progan-mlflow\\\\" is forbidden'):
        cluster.ask("GET", f"{secrets}/progan-mlflow", token=token)


@on_gpus
def test_a_job_of_ci_gets_a_token_of_its_own_account_alone(cluster):
    for resource in yaml.safe_load_all((INFRA / "ci.yaml").read_text()):
        resource["metadata"]["namespace"] = "progan"  # kubectl -n progan
        cluster.apply(resource)

    def token(environment, account):
        forge = f"forge:repo:example/progan:environment:{environment}"
        path = f"/api/v1/namespaces/progan/serviceaccounts/{account}/token"
        hour = {"spec": {"audiences": ["pipelines.kubeflow.org"], "expirationSeconds": 3600}}
        as_forge = {"Impersonate-User": forge, "Impersonate-Group": "system:authenticated"}
        try:
            return cluster.ask("POST", path, hour, headers=as_forge)["status"]["token"]
        except ApiException as error:
            return error.status

    allowed = {("training", "progan-submit"), ("collecting", "progan-collect")}
    for environment in ("training", "collecting", "elsewhere"):
        for name in ("progan-submit", "progan-collect", "progan-pipeline"):
            got = token(environment, name)
            assert (got == 403) is ((environment, name) not in allowed), (environment, name, got)
