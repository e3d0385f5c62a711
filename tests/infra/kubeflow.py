"""The pods that Kubeflow Pipelines makes of a compiled pipeline, written down after its compiler and driver.

It is no Kubeflow: it says what of each task they put on a pod, field by field, as the versions of 2026 do,
and refuses what they would drop without a word. Argo's own helpers beside the task are not part of it.
"""

import yaml

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
SCRATCH = ("gcs", "s3", "minio", ".local", ".cache", ".config")  # folders where the launcher keeps artifacts
HONOURED = {
    "activeDeadlineSeconds",
    "emptyDirMounts",
    "nodeSelector",
    "podMetadata",
    "pvcMount",
    "secretAsEnv",
    "securityContext",
    "tolerations",
}


def task_pods(text, namespace, account):
    """The manifest of each task's pod, by the name that the task is shown by."""
    spec, platform = yaml.load_all(text, yaml.CSafeLoader)
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    graphs = [spec["root"], *spec["components"].values()]
    pods = {}
    for name, task in (item for graph in graphs for item in graph.get("dag", {}).get("tasks", {}).items()):
        if label := spec["components"][task["componentRef"]["name"]].get("executorLabel"):
            container = spec["deploymentSpec"]["executors"][label]["container"]
            pods[task["taskInfo"]["name"]] = _pod(name, container, placed[label], namespace, account)
    return pods


def _pod(name, container, placed, namespace, account):
    assert placed.keys() <= HONOURED, placed.keys() - HONOURED
    labels = {"pipelines.kubeflow.org/v2_component": "true"} | placed.get("podMetadata", {}).get("labels", {})
    launcher = {"name": "kfp-launcher", "mountPath": "/kfp-launcher"}
    folders = [{"name": f"{folder.strip('.')}-scratch", "mountPath": f"/{folder}"} for folder in SCRATCH]
    mounts, volumes = _volumes(placed)
    main = {
        "name": "main",
        "image": container["image"],
        "command": ["/kfp-launcher/launch"],
        "args": [*container["command"], *container["args"]],
        "env": [*container.get("env", []), *_secrets(placed)],
        "resources": _resources(container["resources"]),
        "securityContext": RESTRICTED | placed.get("securityContext", {}),
        "volumeMounts": [launcher, *folders, *mounts],
    }
    helper = {
        "name": "kfp-launcher",
        "image": "ghcr.io/kubeflow/kfp-launcher:2.17.0",
        "securityContext": RESTRICTED | {"runAsNonRoot": True},
        "volumeMounts": [launcher],
    }
    spec = {
        "serviceAccountName": account,
        "restartPolicy": "Never",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "activeDeadlineSeconds": int(placed["activeDeadlineSeconds"]),
        "nodeSelector": placed.get("nodeSelector", {}).get("labels", {}),
        "tolerations": placed.get("tolerations", []),
        "initContainers": [helper],
        "containers": [main],
        "volumes": [*({"name": each["name"], "emptyDir": {}} for each in (launcher, *folders)), *volumes],
    }
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _volumes(placed):
    """Mounts and volumes: a claim's volume is called as the claim is."""
    mounts, volumes = [], []
    for claim in placed.get("pvcMount", []):
        mounts.append({"name": claim["constant"], "mountPath": claim["mountPath"]})
        volumes.append({"name": claim["constant"], "persistentVolumeClaim": {"claimName": claim["constant"]}})
    for folder in placed.get("emptyDirMounts", []):
        mounts.append({"name": folder["volumeName"], "mountPath": folder["mountPath"]})
        kept = {"medium": folder.get("medium", ""), "sizeLimit": folder["sizeLimit"]}
        volumes.append({"name": folder["volumeName"], "emptyDir": kept})
    return mounts, volumes


def _secrets(placed):
    for secret in placed.get("secretAsEnv", []):
        for pair in secret["keyToEnv"]:
            reference = {"name": secret["secretName"], "key": pair["secretKey"]}
            yield {"name": pair["envVar"], "valueFrom": {"secretKeyRef": reference}}


def _resources(given):
    """What is asked for, and the most that is given; of GPUs the most alone, which is asked for as well."""
    requests = {"cpu": given["resourceCpuRequest"], "memory": given["resourceMemoryRequest"]}
    limits = {"memory": given["resourceMemoryLimit"]}
    if gpus := given.get("accelerator"):
        limits[gpus["resourceType"]] = gpus["resourceCount"]
    return {"requests": requests, "limits": limits}
