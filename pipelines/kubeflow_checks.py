"""Checks of the Kubeflow Pipelines of a cluster: whether it retries tasks, and as whom it may run them."""

import re
from collections.abc import Callable
from typing import Any

import yaml
from kubernetes import client

from pipelines.profile import Profile
from progan.errors import InputError

NAMESPACE = "kubeflow"  # where it is installed
REMEDY = "apply infra/kubeflow"
UNTRIED = {  # by Argo's policy: whose default it is, and what is not retried
    "OnError": ("from 2.17 on", "a task that fails: stopped, evicted, out of memory, timed out"),
    "OnFailure": ("up to 2.16", "a task whose pod or node vanishes"),
}
ALLOWED_ACCOUNTS_SINCE = (2, 18)


def kubeflow_checks(api: Any, profile: Profile) -> dict[str, Callable[[], str]]:
    """The checks by their subjects; each returns what it saw, or raises an error that says what is wrong."""
    return {
        "retries in workflow-controller-configmap": lambda: _retries(api),
        "Kubeflow Pipelines": lambda: _version(api, profile),
    }


def _retries(api: Any) -> str:
    """Kubeflow compiles no retry policy, so that the default of Argo's controller decides."""
    config = client.CoreV1Api(api).read_namespaced_config_map("workflow-controller-configmap", NAMESPACE)
    defaults = yaml.safe_load((config.data or {}).get("templateDefaults", "")) or {}
    strategy = {"limit": "0", "retryPolicy": "OnFailure"} | (defaults.get("retryStrategy") or {})
    policy, limit = strategy["retryPolicy"], str(strategy["limit"])
    if policy in UNTRIED:
        versions, untried = UNTRIED[policy]
        raise InputError(f"{policy}, Kubeflow's default {versions}, does not retry {untried}; {REMEDY}")
    if (policy, limit) != ("Always", "0"):
        raise InputError(f"{policy} with the limit {limit} repeats whole graphs of tasks; {REMEDY}")
    return "Always, as often as the profile says"


def _version(api: Any, profile: Profile) -> str:
    """From 2.18 on, Kubeflow runs pods only as accounts that are listed and that the caller may use."""
    deployment = client.AppsV1Api(api).read_namespaced_deployment("ml-pipeline", NAMESPACE)
    container = deployment.spec.template.spec.containers[0]
    tag = container.image.partition("@")[0].rpartition(":")[2]
    version = tuple(map(int, re.findall(r"\d+", tag)[:2]))
    environment = {variable.name: variable.value or "" for variable in container.env or []}
    account = profile.service_account
    allowed = [name.strip() for name in environment.get("ALLOWEDSERVICEACCOUNTS", "").split(",")]
    if version >= ALLOWED_ACCOUNTS_SINCE:
        if account not in [*allowed, environment.get("DEFAULTPIPELINERUNNERSERVICEACCOUNT")]:
            raise InputError(f"{tag} runs no pods as {account}, not in ALLOWEDSERVICEACCOUNTS; {REMEDY}")
        if environment.get("MULTIUSER") == "true" and not _may_use(api, account, profile.namespace):
            raise InputError(f"{tag} needs the right to `use` serviceaccounts/{account}, which you lack")
    return tag


def _may_use(api: Any, account: str, namespace: str) -> bool:
    action = {"verb": "use", "resource": "serviceaccounts", "name": account, "namespace": namespace}
    review = {"spec": {"resourceAttributes": action}}
    answer = client.AuthorizationV1Api(api).create_self_subject_access_review(review)
    return bool(answer.status.allowed)
