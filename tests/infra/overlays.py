"""The resources of infra/overlays, as kustomize renders them."""

import shutil
import subprocess
from pathlib import Path

import yaml

from tests.servers import installed

INFRA = Path(__file__).parents[2] / "infra"
OVERLAYS = ("local", "gpu")
RUNS_NAMESPACE = {"local": "kubeflow", "gpu": "progan"}


def rendered(overlay):
    """All resources of an overlay, as `kubectl apply -k` sends them."""
    kustomize = ["kubectl", "kustomize"] if shutil.which("kubectl") else [installed("kustomize"), "build"]
    command = [*kustomize, INFRA / "overlays" / overlay]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return list(yaml.safe_load_all(done.stdout))


def of_kind(resources, *kinds):
    return [resource for resource in resources if resource["kind"] in kinds]


def workloads(resources):
    return of_kind(resources, "Deployment", "StatefulSet")
