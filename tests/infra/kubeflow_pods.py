"""The pods that Kubeflow Pipelines creates from a compiled pipeline.

This is a model of its compiler and driver, of the versions of 2026: it copies the settings of each task to a
pod, field by field, and fails on those that they would silently drop. Argo's helper containers are left out.
"""

import yaml

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
SCRATCH = (
    "gcs",
    "s3",
    "minio",
    ".local",
    ".cache",
    ".config",
)  # folders in which the launcher stores artifacts
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
    """The manifest of each task's pod, by the task's display name."""
    spec, platform = yaml.load_all(text, yaml.CSafeLoader)
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    graphs = [spec["root"], *spec["components"].values()]
    pods = {}
    for name, task in (item for graph in graphs for item in graph.get("dag", {}).get("tasks", {}).items()):
        if label := spec["components"][task["componentRef"]["name"]].get("executorLabel"):
            container = spec["deploymentSpec"]["executors"][label]["container"]
            pods[task["taskInfo"]["name"]] = _pod(name, container, settings[label], namespace, account)
    return pods


def _pod(name, container, settings, namespace, account):
    assert settings.keys() <= HONOURED, settings.keys() - HONOURED
    labels = {"pipelines.kubeflow.org/v2_component": "true"} | settings.get("podMetadata", {}).get(
        "labels", {}
    )
    launcher = {"name": "kfp-launcher", "mountPath": "/kfp-launcher"}
    folders = [{"name": f"{folder.strip('.')}-scratch", "mountPath": f"/{folder}"} for folder in SCRATCH]
    mounts, volumes = _volumes(settings)
    main = {
        "name": "main",
        "image": container["image"],
        "command": ["/kfp-launcher/launch"],
        "args": [*container["command"], *container["args"]],
        "env": [*container.get("env", []), *_secrets(settings)],
        "resources": _resources(container["resources"]),
        "securityContext": RESTRICTED | settings.get("securityContext", {}),
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
        "activeDeadlineSeconds": int(settings["activeDeadlineSeconds"]),
        "nodeSelector": settings.get("nodeSelector", {}).get("labels", {}),
        "tolerations": settings.get("tolerations", []),
        "initContainers": [helper],
        "containers": [main],
        "volumes": [*({"name": mount["name"], "emptyDir": {}} for mount in (launcher, *folders)), *volumes],
    }
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _volumes(settings):
    """Mounts and volumes; a claim's volume has the name of the claim."""
    mounts, volumes = [], []
    for claim in settings.get("pvcMount", []):
        mounts.append({"name": claim["constant"], "mountPath": claim["mountPath"]})
        volumes.append({"name": claim["constant"], "persistentVolumeClaim": {"claimName": claim["constant"]}})
    for folder in settings.get("emptyDirMounts", []):
        mounts.append({"name": folder["volumeName"], "mountPath": folder["mountPath"]})
        empty_dir = {"medium": folder.get("medium", ""), "sizeLimit": folder["sizeLimit"]}
        volumes.append({"name": folder["volumeName"], "emptyDir": empty_dir})
    return mounts, volumes


def _secrets(settings):
    for secret in settings.get("secretAsEnv", []):
        for pair in secret["keyToEnv"]:
            reference = {"name": secret["secretName"], "key": pair["secretKey"]}
            yield {"name": pair["envVar"], "valueFrom": {"secretKeyRef": reference}}


def _resources(resources):
    """Requests and limits; GPUs have a limit only, which is their request too."""
    requests = {"cpu": resources["resourceCpuRequest"], "memory": resources["resourceMemoryRequest"]}
    limits = {"memory": resources["resourceMemoryLimit"]}
    if gpus := resources.get("accelerator"):
        limits[gpus["resourceType"]] = gpus["resourceCount"]
    return {"requests": requests, "limits": limits}
