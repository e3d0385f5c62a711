"""The manifests of infra/: limits, pinned images, secrets and network policies.

test_cluster.py checks on a real API server that they are valid, restricted and grant no more than needed.
"""

import os
import re
from urllib.parse import urlsplit

import pytest
import yaml

from pipelines.profile import load_profile
from progan import config
from tests.conftest import IMAGE, shrunk_params
from tests.infra.kubeflow_pods import retry_strategies
from tests.infra.network import Pod, allowed
from tests.infra.overlays import INFRA, RUNS_NAMESPACE, of_kind, rendered, workloads
from tests.pipelines.compiled_once import compiled_once


def pods(resources):
    """(name, spec) of every pod."""
    return [
        (workload["metadata"]["name"], workload["spec"]["template"]["spec"])
        for workload in workloads(resources)
    ]


def containers(resources):
    return [
        (name, container)
        for name, pod in pods(resources)
        for container in [*pod.get("initContainers", []), *pod["containers"]]
    ]


def test_pods_write_only_to_volumes_have_limits_and_cannot_call_kubernetes(resources):
    for name, container in containers(resources):
        assert container["securityContext"]["readOnlyRootFilesystem"], name
        assert {"requests", "limits"} <= container["resources"].keys(), name
        assert "memory" in container["resources"]["limits"], name
    assert all(pod["automountServiceAccountToken"] is False for _, pod in pods(resources))


def test_images_are_pinned(overlay, resources):
    for name, container in containers(resources):
        assert re.search(r"(:v?\d[\w.]+|:local|@sha256:[0-9a-f]{64})$", container["image"]), name
    progan = [container["image"] for _, container in containers(resources) if "progan" in container["image"]]
    assert len(progan) == 1
    assert overlay == "local" or "@sha256:" in progan[0]


def secrets_referenced(resources):
    for _, container in containers(resources):
        for entry in container.get("env", []):
            if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                yield reference["name"], reference["key"]


def secrets_created():
    """(namespace, name, key) of each secret that the README's commands create."""
    text = (INFRA / "README.md").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if command := re.search(r"kubectl -n (\S+) create secret generic (\S+)", line):
            for key in re.findall(r"--from-literal=([\w-]+)=", line):
                yield command[1], command[2], key


def test_secrets_are_created_by_the_readmes_commands_and_are_not_in_git(resources):
    assert of_kind(resources, "Secret") == []
    created = {(name, key) for namespace, name, key in secrets_created() if namespace == "progan"}
    assert set(secrets_referenced(resources)) <= created
    sources = [entry for _, container in containers(resources) for entry in container.get("envFrom", [])]
    assert {entry["secretRef"]["name"] for entry in sources} <= {name for name, _ in created}
    for _, container in containers(resources):
        for entry in container.get("env", []):
            assert "value" not in entry or not re.search("PASSWORD|SECRET|KEY", entry["name"]), entry


def test_services_reach_pods_and_claims_are_mounted(resources):
    labels = {
        workload["metadata"]["name"]: workload["spec"]["template"]["metadata"]["labels"]
        for workload in workloads(resources)
    }
    for service in of_kind(resources, "Service"):
        name = service["metadata"]["name"]
        assert service["spec"]["selector"].items() <= labels[name].items()
        [container] = dict(pods(resources))[name]["containers"]
        assert [port["name"] for port in container["ports"]] == [service["spec"]["ports"][0]["name"]]
    for workload in workloads(resources):
        claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        pod = workload["spec"]["template"]["spec"]
        volumes = claims | {volume["name"] for volume in pod.get("volumes", [])}
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == volumes


@pytest.fixture
def pods_by_name(overlay, resources):
    """The overlay's pods, a task, Kubeflow's server, and two pods that have no business with them."""
    namespaces = {name: {"kubernetes.io/metadata.name": name} for name in ("progan", "kubeflow", "other")}
    for namespace in of_kind(resources, "Namespace"):
        namespaces[namespace["metadata"]["name"]] |= namespace["metadata"]["labels"]
    runs = RUNS_NAMESPACE[overlay]
    namespaces[runs]["progan/runs"] = "true"  # on kubeflow, the README's command
    pods = {
        workload["metadata"]["name"]: Pod(
            "progan",
            workload["spec"]["template"]["metadata"]["labels"],
            namespaces["progan"],
            {port["name"]: port["containerPort"] for port in container["ports"]},
        )
        for workload in workloads(resources)
        for container in workload["spec"]["template"]["spec"]["containers"]
    }
    task = {"pipelines.kubeflow.org/v2_component": "true"}
    pods["task"] = Pod(runs, task, namespaces[runs])
    pods["neighbour"] = Pod("progan", {"app": "neighbour"}, namespaces["progan"])
    pods["stranger"] = Pod("other", task, namespaces["other"])
    pods["kfp"] = Pod("kubeflow", {"app": "ml-pipeline"}, namespaces["kubeflow"])
    return pods


def test_which_pods_may_connect(overlay, resources, pods_by_name):
    ports = {"mlflow": 5000, "postgres": 5432, "s3": 7070, "kfp": 8888, "task": 8080}
    policies = of_kind(resources, "NetworkPolicy")
    connections = {
        (source, target)
        for source in pods_by_name
        for target, port in ports.items()
        if target in pods_by_name
        and source != target
        and allowed(policies, pods_by_name[source], pods_by_name[target], port)
    }
    expected = {("task", "mlflow"), ("mlflow", "postgres"), ("task", "kfp"), ("stranger", "kfp")}
    if overlay == "local":
        expected |= {("task", "s3"), ("mlflow", "s3")}
    assert connections == expected


PROFILES = {"local": INFRA / "overlays/local/cluster.yaml", "gpu": INFRA / "cluster.yaml"}


def test_the_overlay_has_everything_that_the_profile_names(overlay, resources):
    profile = load_profile(PROFILES[overlay], None)
    assert profile.namespace == RUNS_NAMESPACE[overlay]
    names = {(resource["kind"], resource["metadata"]["name"]) for resource in resources}
    assert ("ServiceAccount", profile.service_account) in names
    claims = {name for kind, name in names if kind == "PersistentVolumeClaim"}
    assert claims == profile.volumes.keys()  # pods mount every claim
    secret_keys = {(name, key) for name, keys in profile.secrets.items() for key in keys.values()}
    assert secret_keys <= {(name, key) for _, name, key in secrets_created()}
    [hosts] = [
        entry["value"]
        for _, container in containers(resources)
        for entry in container.get("env", [])
        if entry["name"] == "ALLOWED_HOSTS"
    ]
    assert urlsplit(profile.mlflow).netloc in hosts.split(",")


def test_kubeflow_retries_what_fails_and_runs_pods_as_our_account(tmp_path):
    """infra/kubeflow over Kubeflow's own objects, as far as they matter."""
    theirs = {
        "ConfigMap": {"data": {"executor": "its own", "templateDefaults": "retryStrategy: {limit: '2'}"}},
        "Deployment": {
            "spec": {
                "template": {"spec": {"containers": [{"name": "ml-pipeline-api-server", "image": "kfp"}]}}
            }
        },
    }
    for kind, version, name in (
        ("ConfigMap", "v1", "workflow-controller-configmap"),
        ("Deployment", "apps/v1", "ml-pipeline"),
    ):
        metadata = {"name": name, "namespace": "kubeflow"}
        manifest = {"apiVersion": version, "kind": kind, "metadata": metadata, **theirs[kind]}
        (tmp_path / f"{kind}.yaml").write_text(yaml.safe_dump(manifest))
    component = os.path.relpath(INFRA / "kubeflow", tmp_path)
    kustomization = {"resources": ["ConfigMap.yaml", "Deployment.yaml"], "components": [component]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    controller, deployment = rendered(tmp_path)
    assert controller["data"]["executor"] == "its own"
    defaults = yaml.safe_load(controller["data"]["templateDefaults"])["retryStrategy"]
    assert defaults == {"limit": "0", "retryPolicy": "Always"}
    profile = load_profile(INFRA / "cluster.yaml", IMAGE)
    text = compiled_once(config.parse(shrunk_params(), ""), profile, "d" * 64)
    strategies = retry_strategies(text, defaults)
    assert strategies["train r0008"] == {"limit": "5", "retryPolicy": "Always"}
    assert strategies["report"] == {"limit": "2", "retryPolicy": "Always"}
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "kfp"
    assert container["env"] == [{"name": "ALLOWEDSERVICEACCOUNTS", "value": profile.service_account}]
