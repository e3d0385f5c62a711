"""What kustomize makes of infra/, where no API server is the judge: limits, pins, secrets, who talks to whom.

That it is valid, restricted and grants nothing too much is for a real one to say: test_cluster.py.
"""

import re
from urllib.parse import urlsplit

import pytest

from pipelines.profile import load_profile
from tests.infra.network import Pod, allowed
from tests.infra.overlays import INFRA, RUNS_NAMESPACE, of_kind, workloads


def pods(resources):
    """(name, spec) of every pod."""
    return [(one["metadata"]["name"], one["spec"]["template"]["spec"]) for one in workloads(resources)]


def containers(resources):
    return [
        (name, container)
        for name, pod in pods(resources)
        for container in [*pod.get("initContainers", []), *pod["containers"]]
    ]


def test_pods_write_only_to_volumes_have_limits_and_no_way_into_kubernetes(resources):
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
    """(namespace, name, key) of the commands in the README."""
    text = (INFRA / "README.md").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if made := re.search(r"kubectl -n (\S+) create secret generic (\S+)", line):
            for key in re.findall(r"--from-literal=([\w-]+)=", line):
                yield made[1], made[2], key


def test_secrets_are_made_by_the_commands_of_the_readme_and_are_not_in_git(resources):
    assert of_kind(resources, "Secret") == []
    created = {(name, key) for namespace, name, key in secrets_created() if namespace == "progan"}
    assert set(secrets_referenced(resources)) <= created
    everywhere = [entry for _, one in containers(resources) for entry in one.get("envFrom", [])]
    assert {entry["secretRef"]["name"] for entry in everywhere} <= {name for name, _ in created}
    for _, container in containers(resources):
        for entry in container.get("env", []):
            assert "value" not in entry or not re.search("PASSWORD|SECRET|KEY", entry["name"]), entry


def test_services_reach_pods_and_claims_are_mounted(resources):
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in workloads(resources)
    }
    for service in of_kind(resources, "Service"):
        name = service["metadata"]["name"]
        assert service["spec"]["selector"].items() <= labels[name].items()
        [container] = dict(pods(resources))[name]["containers"]
        assert [port["name"] for port in container["ports"]] == [service["spec"]["ports"][0]["name"]]
    for one in workloads(resources):
        claims = {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])}
        pod = one["spec"]["template"]["spec"]
        volumes = claims | {volume["name"] for volume in pod.get("volumes", [])}
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == volumes


@pytest.fixture
def cast(overlay, resources):
    """The pods that there are, by name, and two strangers."""
    namespaces = {name: {"kubernetes.io/metadata.name": name} for name in ("progan", "kubeflow", "elsewhere")}
    for namespace in of_kind(resources, "Namespace"):
        namespaces[namespace["metadata"]["name"]] |= namespace["metadata"]["labels"]
    runs = RUNS_NAMESPACE[overlay]
    namespaces[runs]["progan/runs"] = "true"  # on kubeflow, the README's command
    made = {
        one["metadata"]["name"]: Pod(
            "progan",
            one["spec"]["template"]["metadata"]["labels"],
            namespaces["progan"],
            {port["name"]: port["containerPort"] for port in container["ports"]},
        )
        for one in workloads(resources)
        for container in one["spec"]["template"]["spec"]["containers"]
    }
    task = {"pipelines.kubeflow.org/v2_component": "true"}
    made["task"] = Pod(runs, task, namespaces[runs])
    made["neighbour"] = Pod("progan", {"app": "neighbour"}, namespaces["progan"])
    made["stranger"] = Pod("elsewhere", task, namespaces["elsewhere"])
    made["kfp"] = Pod("kubeflow", {"app": "ml-pipeline"}, namespaces["kubeflow"])
    return made


def test_who_may_talk_to_whom(overlay, resources, cast):
    ports = {"mlflow": 5000, "postgres": 5432, "s3": 7070, "kfp": 8888, "task": 8080}
    policies = of_kind(resources, "NetworkPolicy")
    talks = {
        (source, target)
        for source in cast
        for target, port in ports.items()
        if target in cast and source != target and allowed(policies, cast[source], cast[target], port)
    }
    expected = {("task", "mlflow"), ("mlflow", "postgres"), ("task", "kfp"), ("stranger", "kfp")}
    if overlay == "local":
        expected |= {("task", "s3"), ("mlflow", "s3")}
    assert talks == expected


PROFILES = {"local": INFRA / "overlays/local/cluster.yaml", "gpu": INFRA / "cluster.yaml"}


def test_what_the_cluster_profile_names_is_there(overlay, resources):
    profile = load_profile(PROFILES[overlay], None)
    assert profile.namespace == RUNS_NAMESPACE[overlay]
    made = {(one["kind"], one["metadata"]["name"]) for one in resources}
    assert ("ServiceAccount", profile.service_account) in made
    claims = {name for kind, name in made if kind == "PersistentVolumeClaim"}
    assert claims == profile.volumes.keys()  # and none that no pod mounts
    wanted = {(name, key) for name, keys in profile.secrets.items() for key in keys.values()}
    assert wanted <= {(name, key) for _, name, key in secrets_created()}
    [hosts] = [
        entry["value"]
        for _, container in containers(resources)
        for entry in container.get("env", [])
        if entry["name"] == "ALLOWED_HOSTS"
    ]
    assert urlsplit(profile.mlflow).netloc in hosts.split(",")
