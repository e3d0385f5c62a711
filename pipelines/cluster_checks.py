"""What of a cluster is not as the profile wants it, found before it costs anything."""

import json
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from progan.errors import InputError

if TYPE_CHECKING:
    from pipelines.profile import Pod, Profile

GPU, KUEUE = "nvidia.com/gpu", "kueue.x-k8s.io"
OF_THE_CLUSTER = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")  # taints: not ready, cordoned …
TIMEOUT_SECONDS = 15


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: fine or not, and what to do about it."""

    passed: bool
    text: str


def cluster_checks(
    profile: "Profile", phases: Sequence[str], kubeconfig: str | None, context: str | None
) -> list[Check]:
    """Compare the cluster with what the profile asks of it for these phases; nothing is made there.

    kubeconfig: its file, in the place of ~/.kube/config; context: one of it, in the place of its current one.
    """
    return list(_Cluster(_api(kubeconfig, context), profile, tuple(phases)).checks())


def _api(kubeconfig: str | None, context: str | None) -> Any:
    """A client by the kubeconfig, or by the service account of the pod that this runs in."""
    import yaml
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        config.load_kube_config(kubeconfig, context, configuration)
    except (config.ConfigException, yaml.YAMLError, TypeError, OSError) as error:
        try:
            config.load_incluster_config(configuration)
        except config.ConfigException:
            why = " ".join(str(error).split())
            raise InputError(f"no cluster to look at: {why}; give --kubeconfig or --context") from None
    configuration.retries = False
    return client.ApiClient(configuration)


class _Cluster:
    """A cluster that is compared with a profile. Each check returns what it saw, or raises what is wrong."""

    def __init__(self, api: Any, profile: "Profile", phases: tuple[str, ...]) -> None:
        from kubernetes import client

        self.api, self.profile, self.phases = api, profile, phases
        self.namespace = profile.namespace
        self.core = client.CoreV1Api(api)

    def checks(self) -> Iterator[Check]:
        """All checks; the first alone when nothing answers."""
        profile, storage = self.profile, self.profile.storage
        reached = _check("API", self._version)
        yield reached
        if not reached.passed:
            return
        yield _check(f"namespace {self.namespace}", self._namespace)
        yield _check(f"service account {profile.service_account}", self._account)
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
        from kubernetes import client

        return f"Kubernetes {client.VersionApi(self.api).get_code().git_version} answers"

    def _namespace(self) -> str:
        phase = self.core.read_namespace(self.namespace).status.phase
        if phase != "Active":
            raise InputError(f"is {phase}; nothing can be made in it")
        return "active"

    def _account(self) -> str:
        self.core.read_namespaced_service_account(self.profile.service_account, self.namespace)
        return "is there"

    def _secret(self, name: str) -> str:
        """The names of its keys are looked at, never what they hold."""
        there = set(self.core.read_namespaced_secret(name, self.namespace).data or {})
        if missing := set(self.profile.secrets[name].values()) - there:
            raise InputError(f"has no {', '.join(sorted(missing))}; add what the profile reads of it")
        return "has every key"

    def _claim(self, name: str) -> str:
        claim = self.core.read_namespaced_persistent_volume_claim(name, self.namespace)
        phase, storage_class = claim.status.phase, claim.spec.storage_class_name
        if phase == "Pending" and self._binds_late(storage_class):
            return "is bound when a pod first mounts it"
        if phase != "Bound":
            of_class = f"of the storage class {storage_class}" if storage_class else "of no storage class"
            raise InputError(f"is {phase}, {of_class}; a pod that mounts it waits for ever")
        return "is bound"

    def _binds_late(self, storage_class: str | None) -> bool:
        from kubernetes import client

        return any(
            each.metadata.name == storage_class and each.volume_binding_mode == "WaitForFirstConsumer"
            for each in client.StorageV1Api(self.api).list_storage_class().items
        )

    def _queue(self) -> str:
        """In the version of Kueue's API that the cluster has."""
        from kubernetes import client

        groups = {group.name: group for group in client.ApisApi(self.api).get_api_versions().groups}
        if KUEUE not in groups:
            raise InputError("the cluster has no Kueue; install it, or set queue to null")
        kind = (KUEUE, groups[KUEUE].preferred_version.version, self.namespace, "localqueues")
        client.CustomObjectsApi(self.api).get_namespaced_custom_object(*kind, self.profile.queue)
        return "is there"

    def _gpus(self, pod: "Pod") -> str:
        """All GPUs of a pod are in one node."""
        wanted = f"{pod.gpus} × {pod.gpu or GPU}"
        labels = self.profile.node_labels(pod)
        nodes = [
            node
            for node in self.core.list_node().items
            if labels.items() <= (node.metadata.labels or {}).items()
            and _amount(node.status.allocatable, GPU) >= pod.gpus
        ]
        if not nodes:
            raise InputError(f"no node has {wanted} and {labels}; change the profile, or let nodes be added")
        open_nodes = [node for node in nodes if not self._untolerated(node, pod)]
        if not open_nodes:
            taint = self._untolerated(nodes[0], pod)[0]
            closed = taint.startswith(OF_THE_CLUSTER)
            advice = "it takes no pods now" if closed else "tolerate it in the profile"
            raise InputError(f"{nodes[0].metadata.name} has the taint {taint}; {advice}")
        used = self._used_gpus()
        free = {
            n.metadata.name: _amount(n.status.allocatable, GPU) - used[n.metadata.name] for n in open_nodes
        }
        if max(free.values()) < pod.gpus:
            raise InputError(
                f"{wanted} wanted, {max(free.values())} free in one of {len(free)} nodes: it waits"
            )
        return f"{wanted} wanted, {sum(free.values())} free in {len(free)} nodes"

    def _untolerated(self, node: Any, pod: "Pod") -> list[str]:
        """The taints that keep `pod` off `node`."""
        tolerations = self.profile.tolerations(pod)
        return [
            f"{taint.key}{f'={taint.value}' if taint.value else ''}:{taint.effect}"
            for taint in node.spec.taints or []
            if taint.effect != "PreferNoSchedule"
            and not any(
                (tolerated.key, tolerated.effect) == (taint.key, taint.effect)
                and (tolerated.operator == "Exists" or tolerated.value == taint.value)
                for tolerated in tolerations
            )
        ]

    def _used_gpus(self) -> Counter[str]:
        """What pods that have not ended hold, by node."""
        used: Counter[str] = Counter()
        for pod in self.core.list_pod_for_all_namespaces().items:
            if pod.spec.node_name and pod.status.phase not in ("Succeeded", "Failed"):
                for container in pod.spec.containers:
                    requests = container.resources.requests if container.resources else None
                    used[pod.spec.node_name] += _amount(requests, GPU)
        return used

    def _pods(self) -> str:
        """Whether the API server would take the pods: quotas, limits, and whatever else judges them there."""
        from kubernetes.client import ApiException

        for pod, phases in groupby((None, *self.phases), self.profile.pod):
            try:
                self.core.create_namespaced_pod(self.namespace, self._manifest(pod), dry_run="All")
            except ApiException as error:
                whose = ", ".join(phase or "stages" for phase in phases)
                raise InputError(f"{whose}: {_reason(error)}") from None
        return "of every size are admitted"

    def _manifest(self, pod: "Pod") -> dict[str, Any]:
        """A pod as Kubeflow makes it, as far as the API server judges it."""
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
        """By its address, or through the API when only pods can reach that."""
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


def _check(what: str, look: Callable[[], str]) -> Check:
    """Look, and put what was seen or what is wrong into a line."""
    import botocore.exceptions
    import kubernetes.client
    import urllib3

    try:
        return Check(True, f"{what}: {look()}")
    except kubernetes.client.ApiException as error:
        why = {
            0: _silent(error.reason),  # no certificate of whom we trust
            401: "the token is not accepted",
            403: "you may not look at it",
            404: "is not there",
        }
        return Check(False, f"{what}: {why.get(error.status) or f'answers {error.status}: {_reason(error)}'}")
    except botocore.exceptions.ClientError as error:
        return Check(False, f"{what}: answers {error.response['Error']['Code']}; check name and credentials")
    except InputError as error:
        return Check(False, f"{what}: {error}")
    except (urllib3.exceptions.HTTPError, botocore.exceptions.BotoCoreError, OSError) as error:
        return Check(False, f"{what}: {_silent(error)}")


def _silent(error: object) -> str:
    """The end of a chain of errors says why."""
    return f"does not answer ({' '.join(str(error).split()).rpartition('Caused by ')[2][:160]})"


def _reason(error: Any) -> str:
    """What the API server says of a refusal, without the name of what it refused."""
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    return message.removeprefix('pods "progan-doctor" is forbidden: ')


def _amount(quantities: dict[str, Any] | None, resource: str) -> int:
    """What `quantities` has of a resource: bytes, cores or pieces."""
    from kubernetes.utils import parse_quantity

    return int(parse_quantity((quantities or {}).get(resource, 0)))


def _bucket(uri: str) -> str:
    """Ask for the bucket, at AWS_ENDPOINT_URL where that is set."""
    import boto3
    from botocore.config import Config

    url = urlsplit(uri)
    if url.scheme != "s3":
        raise InputError("no folder and no s3:// address")
    settings = Config(connect_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 1})
    boto3.client("s3", config=settings).head_bucket(Bucket=url.netloc)
    return "answers"
