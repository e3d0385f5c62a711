"""Checks of a cluster against the profile, before a run there costs anything."""

import json
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
import urllib3
import yaml
from botocore.config import Config
from kubernetes import client, config
from kubernetes.utils import parse_quantity

from pipelines.image_checks import check_attestations
from pipelines.kubeflow_checks import kubeflow_checks
from pipelines.profile import GPU, Pod, Profile
from progan.errors import InputError

KUEUE = "kueue.x-k8s.io"
CLUSTER_TAINTS = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")  # not ready, cordoned …
TIMEOUT_SECONDS = 15


@dataclass(frozen=True)
class Check:
    """The result of one check; if it failed, the text says what to do."""

    passed: bool
    text: str


def cluster_checks(
    profile: Profile, phases: Sequence[str], kubeconfig: str | None, context: str | None
) -> list[Check]:
    """Check that the cluster has what the profile asks for these phases; nothing is created there.

    kubeconfig: a file, if not ~/.kube/config; context: a context of that file, if not the current one.
    """
    return list(_Cluster(_api(kubeconfig, context), profile, tuple(phases)).checks())


def _api(kubeconfig: str | None, context: str | None) -> Any:
    """A client that uses the kubeconfig, or the service account of the pod in which this runs."""
    configuration = client.Configuration()
    try:
        config.load_kube_config(kubeconfig, context, configuration)
    except (config.ConfigException, yaml.YAMLError, TypeError, OSError) as error:
        try:
            config.load_incluster_config(configuration)
        except config.ConfigException:
            why = " ".join(str(error).split())
            raise InputError(f"no cluster to check: {why}; give --kubeconfig or --context") from None
    configuration.retries = False
    return client.ApiClient(configuration)


class _Cluster:
    """A cluster and the profile it is checked against.

    A check returns the state that it saw, or raises an error that says what is wrong.
    """

    def __init__(self, api: Any, profile: Profile, phases: tuple[str, ...]) -> None:
        self.api, self.profile, self.phases = api, profile, phases
        self.namespace = profile.namespace
        self.core = client.CoreV1Api(api)

    def checks(self) -> Iterator[Check]:
        """The results of all checks; only the first if the API server does not answer."""
        profile, storage = self.profile, self.profile.storage
        api = _check("API", self._version)
        yield api
        if not api.passed:
            return
        yield _check(f"namespace {self.namespace}", self._namespace)
        yield _check(f"service account {profile.service_account}", self._account)
        for subject, check in kubeflow_checks(self.api, profile).items():
            yield _check(subject, check)
        if profile.attested:
            yield _check("image", partial(check_attestations, profile.image))
        for secret in profile.secrets:
            yield _check(f"secret {secret}", partial(self._secret, secret))
        for claim in profile.volumes:
            yield _check(f"volume claim {claim}", partial(self._claim, claim))
        if profile.queue:
            yield _check(f"queue {profile.queue}", self._queue)
        for pod, phases in groupby(self.phases, profile.pod):
            if pod.gpus:
                yield _check(f"GPUs for {', '.join(phases)}", partial(self._gpus, pod))
        yield _check("pods", self._pods)
        yield _check(f"MLflow at {profile.mlflow}", self._mlflow)
        for uri in sorted({uri for uri in asdict(storage).values() if "://" in uri}):
            yield _check(f"storage {uri}", partial(_bucket, uri))

    def _version(self) -> str:
        return f"Kubernetes {client.VersionApi(self.api).get_code().git_version} answers"

    def _namespace(self) -> str:
        phase = self.core.read_namespace(self.namespace).status.phase
        if phase != "Active":
            raise InputError(f"is {phase}; nothing can be created in it")
        return "active"

    def _account(self) -> str:
        self.core.read_namespaced_service_account(self.profile.service_account, self.namespace)
        return "exists"

    def _secret(self, name: str) -> str:
        """Only the names of the secret's keys are read, never their values."""
        keys = set(self.core.read_namespaced_secret(name, self.namespace).data or {})
        if missing := set(self.profile.secrets[name].values()) - keys:
            raise InputError(f"has no {', '.join(sorted(missing))}; add the keys that the profile reads")
        return "has every key"

    def _claim(self, name: str) -> str:
        claim = self.core.read_namespaced_persistent_volume_claim(name, self.namespace)
        phase, storage_class = claim.status.phase, claim.spec.storage_class_name
        if phase == "Pending" and self._binds_late(storage_class):
            return "is bound when a pod first mounts it"
        if phase != "Bound":
            class_text = (
                f"with the storage class {storage_class}" if storage_class else "without a storage class"
            )
            raise InputError(f"is {phase}, {class_text}; a pod that mounts it waits forever")
        return "is bound"

    def _binds_late(self, storage_class: str | None) -> bool:
        return any(
            item.metadata.name == storage_class and item.volume_binding_mode == "WaitForFirstConsumer"
            for item in client.StorageV1Api(self.api).list_storage_class().items
        )

    def _queue(self) -> str:
        """The queue is read through the version of Kueue's API that the cluster has."""
        groups = {group.name: group for group in client.ApisApi(self.api).get_api_versions().groups}
        if KUEUE not in groups:
            raise InputError("the cluster has no Kueue; install it, or set queue to null")
        kind = (KUEUE, groups[KUEUE].preferred_version.version, self.namespace, "localqueues")
        client.CustomObjectsApi(self.api).get_namespaced_custom_object(*kind, self.profile.queue)
        return "exists"

    def _gpus(self, pod: Pod) -> str:
        """One node must have all GPUs of the pod."""
        wanted = f"{pod.gpus} × {pod.gpu or GPU}"
        labels = self.profile.node_labels(pod)
        nodes = [
            node
            for node in self.core.list_node().items
            if labels.items() <= (node.metadata.labels or {}).items()
            and _amount(node.status.allocatable, GPU) >= pod.gpus
        ]
        if not nodes:
            raise InputError(f"no node has {wanted} and {labels}; change the profile, or add nodes")
        open_nodes = [node for node in nodes if not self._untolerated(node, pod)]
        if not open_nodes:
            taint = self._untolerated(nodes[0], pod)[0]
            unavailable = taint.startswith(CLUSTER_TAINTS)
            advice = "it takes no pods now" if unavailable else "tolerate it in the profile"
            raise InputError(f"{nodes[0].metadata.name} has the taint {taint}; {advice}")
        used = self._used_gpus()
        free = {
            n.metadata.name: _amount(n.status.allocatable, GPU) - used[n.metadata.name] for n in open_nodes
        }
        if (most := max(free.values())) < pod.gpus:
            raise InputError(
                f"{wanted} wanted, at most {most} free in one of {len(free)} nodes; it would wait"
            )
        return f"{wanted} wanted, {sum(free.values())} free in {len(free)} nodes"

    def _untolerated(self, node: Any, pod: Pod) -> list[str]:
        """The taints that keep `pod` off `node`."""
        tolerations = self.profile.tolerations(pod)
        return [
            f"{taint.key}{f'={taint.value}' if taint.value else ''}:{taint.effect}"
            for taint in node.spec.taints or []
            if taint.effect != "PreferNoSchedule"
            and not any(
                (toleration.key, toleration.effect) == (taint.key, taint.effect)
                and (toleration.operator == "Exists" or toleration.value == taint.value)
                for toleration in tolerations
            )
        ]

    def _used_gpus(self) -> Counter[str]:
        """The GPUs of pods that have not ended, by node."""
        used: Counter[str] = Counter()
        for pod in self.core.list_pod_for_all_namespaces().items:
            if pod.spec.node_name and pod.status.phase not in ("Succeeded", "Failed"):
                for container in pod.spec.containers:
                    requests = container.resources.requests if container.resources else None
                    used[pod.spec.node_name] += _amount(requests, GPU)
        return used

    def _pods(self) -> str:
        """The API server must admit the pods: its quotas, limits and other admission rules apply."""
        for pod, phases in groupby((None, *self.phases), self.profile.pod):
            try:
                self.core.create_namespaced_pod(self.namespace, self._manifest(pod), dry_run="All")
            except client.ApiException as error:
                entries = ", ".join(phase or "stages" for phase in phases)
                raise InputError(f"{entries}: {_reason(error)}") from None
        return "every size is admitted"

    def _manifest(self, pod: Pod) -> dict[str, Any]:
        """A pod as Kubeflow creates it, with the fields that admission depends on."""
        memory = f"{pod.memory_gib:g}Gi"
        container = {
            "name": "main",
            "image": self.profile.image,
            "resources": {
                "requests": {"cpu": f"{pod.cpu:g}", "memory": memory},
                "limits": {"memory": memory} | ({GPU: str(pod.gpus)} if pod.gpus else {}),
            },
            "securityContext": {
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }
        spec = {"serviceAccountName": self.profile.service_account, "containers": [container]}
        return {"metadata": {"name": "progan-doctor"}, "spec": spec}

    def _mlflow(self) -> str:
        """Ask for its health; through the API server if only pods can reach the address."""
        url = urlsplit(self.profile.mlflow)
        service, *rest = (url.hostname or "").split(".")
        if len(rest) == 1 or "svc" in rest:
            scheme, port = ("https:", 443) if url.scheme == "https" else ("", 80)
            name, path = f"{scheme}{service}:{url.port or port}", f"{url.path.strip('/')}/health".strip("/")
            self.core.connect_get_namespaced_service_proxy_with_path(name, rest[0], path)
        else:
            health = f"{self.profile.mlflow.rstrip('/')}/health"
            urllib.request.urlopen(health, timeout=TIMEOUT_SECONDS).close()
        return "answers"


def _check(subject: str, check: Callable[[], str]) -> Check:
    """Run `check`; its result or its error becomes one line."""
    try:
        return Check(True, f"{subject}: {check()}")
    except client.ApiException as error:
        why = {
            0: _no_answer(error.reason),  # such as a certificate of an unknown authority
            401: "the token is not accepted",
            403: "you have no permission to read it",
            404: "does not exist",
        }.get(error.status) or f"answers {error.status}: {_reason(error)}"
        return Check(False, f"{subject}: {why}")
    except botocore.exceptions.ClientError as error:
        return Check(
            False, f"{subject}: answers {error.response['Error']['Code']}; check name and credentials"
        )
    except InputError as error:
        return Check(False, f"{subject}: {error}")
    except (urllib3.exceptions.HTTPError, botocore.exceptions.BotoCoreError, OSError) as error:
        return Check(False, f"{subject}: {_no_answer(error)}")


def _no_answer(error: object) -> str:
    """The message for an error of the connection; the end of its chain of causes says why."""
    return f"does not answer ({' '.join(str(error).split()).rpartition('Caused by ')[2][:160]})"


def _reason(error: Any) -> str:
    """The API server's message, without the name of the pod that it refused."""
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    return message.removeprefix('pods "progan-doctor" is forbidden: ')


def _amount(quantities: dict[str, Any] | None, resource: str) -> int:
    """The amount of a resource in `quantities`: bytes, cores or pieces."""
    return int(parse_quantity((quantities or {}).get(resource, 0)))


def _bucket(uri: str) -> str:
    """Ask for the bucket, at AWS_ENDPOINT_URL if that is set."""
    url = urlsplit(uri)
    if url.scheme != "s3":
        raise InputError("neither a folder nor an s3:// address")
    settings = Config(connect_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 1})
    boto3.client("s3", config=settings).head_bucket(Bucket=url.netloc)
    return "answers"
