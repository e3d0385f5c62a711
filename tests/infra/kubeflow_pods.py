"""The pods that Kubeflow Pipelines creates from a compiled pipeline.

A model of its compiler and driver, after pods that Kubeflow Pipelines 2.17 with Argo 4.0 created: it copies
the settings of each task to a pod, field by field, and fails on those that they would silently drop.
"""

import yaml

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
SCRATCH = ("gcs", "s3", "minio", ".local", ".cache", ".config")  # folders of the launcher
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
    pods = {}
    for name, task in _tasks(spec):
        label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
        container = spec["deploymentSpec"]["executors"][label]["container"]
        pods[task["taskInfo"]["name"]] = _pod(name, container, settings[label], namespace, account)
    return pods


def retry_strategies(text, defaults):
    """Argo's strategy for each task, by its display name.

    Kubeflow compiles the limit and no policy; Argo merges the controller's defaults into each template.
    """
    spec = next(yaml.load_all(text, yaml.CSafeLoader))
    return {
        task["taskInfo"]["name"]: defaults | {"limit": str(task["retryPolicy"]["maxRetryCount"])}
        for _, task in _tasks(spec)
    }


def _tasks(spec):
    """(key, task) of what runs in pods."""
    for graph in [spec["root"], *spec["components"].values()]:
        for key, task in graph.get("dag", {}).get("tasks", {}).items():
            if "executorLabel" in spec["components"][task["componentRef"]["name"]]:
                yield key, task


def _pod(name, container, settings, namespace, account):
    assert settings.keys() <= HONOURED, settings.keys() - HONOURED
    labels = {"pipelines.kubeflow.org/v2_component": "true", "pipeline/runid": "1234"}
    labels |= settings.get("podMetadata", {}).get("labels", {})
    launcher = {"name": "kfp-launcher", "mountPath": "/kfp-launcher"}
    folders = [
        {"name": f"{folder.replace('.', 'dot-')}-scratch", "mountPath": f"/{folder}"} for folder in SCRATCH
    ]
    mounts, volumes = _volumes(settings)
    main = {
        "name": "main",
        "image": container["image"],
        "command": ["/kfp-launcher/launch"],
        "args": [*container["command"], *container["args"]],
        "env": [*container.get("env", []), *_secrets(settings), *_about_the_pod()],
        "envFrom": [{"configMapRef": {"name": "metadata-grpc-configmap", "optional": True}}],
        "resources": _resources(container["resources"]),
        "securityContext": RESTRICTED | settings.get("securityContext", {}),
        "volumeMounts": [launcher, *folders, *mounts],
    }
    helper = {
        "name": "kfp-launcher",
        "image": "ghcr.io/kubeflow/kfp-launcher:2.17.0",
        "securityContext": RESTRICTED | {"runAsNonRoot": True},
        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "100m"}},
        "volumeMounts": [launcher],
    }
    argo = {
        "image": "quay.io/argoproj/argoexec:v4.0.8",
        "securityContext": RESTRICTED | {"runAsNonRoot": True},
    }
    spec = {
        "serviceAccountName": account,
        "restartPolicy": "Never",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "activeDeadlineSeconds": int(settings["activeDeadlineSeconds"]),
        "nodeSelector": settings.get("nodeSelector", {}).get("labels", {}),
        "tolerations": settings.get("tolerations", []),
        "initContainers": [{"name": "init", **argo}, helper],
        "containers": [{"name": "wait", **argo}, main],
        "volumes": [*({"name": mount["name"], "emptyDir": {}} for mount in (launcher, *folders)), *volumes],
    }
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _about_the_pod():
    for name, field in (("KFP_POD_NAME", "metadata.name"), ("KFP_POD_UID", "metadata.uid")):
        yield {"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}}
    yield {"name": "KFP_RETRY_INDEX", "value": "0"}


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
