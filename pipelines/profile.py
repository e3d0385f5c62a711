"""The cluster profile, infra/cluster.yaml, as typed, frozen, validated values: where the pipeline runs."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from components.stages import Task
from progan.config import read_yaml, validated
from progan.errors import InputError
from progan.resolutions import RESOLUTIONS, phase_key

STAGES = "stages"  # the entry of `pods` for what is no training
FIRST_PAUSE_SECONDS, PAUSE_FACTOR = 60, 2  # before a retry, and how it grows
QUEUE_SECONDS = 24 * 3600  # that an attempt may wait for a node: the window counts it, the timeout does not
NAME = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"  # of a Kubernetes object
LABEL = (
    r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # of a namespace, and of a volume: Kubeflow calls it as its claim
)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class Toleration:
    """A taint of nodes that a pod does not mind."""

    key: str
    operator: Literal["Exists", "Equal"]
    value: str | None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]

    def __post_init__(self) -> None:
        _require(
            (self.operator == "Equal") == (self.value is not None),
            f"{self.key}: Equal needs a value, and Exists has none",
        )


@dataclass(frozen=True)
class SpotNodes:
    """How a cluster marks its spot nodes."""

    node_selectors: dict[str, str]
    tolerations: tuple[Toleration, ...]


@dataclass(frozen=True)
class Pod:
    """What one pod gets."""

    gpu: str | None  # the value of `gpu_label` on its nodes; null: any card
    gpus: int
    gpu_memory_gib: float  # of one card
    gpu_hour_price: float
    cpu: float
    memory_gib: float
    shm_gib: float
    ephemeral_gib: float
    node_selectors: dict[str, str]
    tolerations: tuple[Toleration, ...]
    spot: bool
    timeout_hours: float  # of one attempt
    retries: int

    def __post_init__(self) -> None:
        for name in ("cpu", "memory_gib", "shm_gib", "ephemeral_gib", "timeout_hours"):
            _require(getattr(self, name) > 0, f"{name} must be positive")
        for name in ("retries", "gpu_hour_price"):
            _require(getattr(self, name) >= 0, f"{name} must not be negative")
        _require(0 <= self.gpus <= 8, f"gpus: from 0 to 8, those of one node, not {self.gpus}")
        _require(
            (self.gpus > 0) == (self.gpu_memory_gib > 0),
            "gpu_memory_gib must be positive where there are gpus, and 0 where there are none",
        )
        _require(self.shm_gib < self.memory_gib, "shm_gib is a part of memory_gib, and must be smaller")

    @property
    def timeout_seconds(self) -> int:
        return round(self.timeout_hours * 3600)

    @property
    def retry_window_seconds(self) -> int:
        """How long to go on retrying, counted from the start of the first attempt.

        Every attempt may wait for a node and then use its whole timeout, with a pause after each but the
        last. A shorter window ends the retries of whatever runs for long.
        """
        pauses = sum(FIRST_PAUSE_SECONDS * PAUSE_FACTOR**retry for retry in range(self.retries))
        return (self.retries + 1) * (self.timeout_seconds + QUEUE_SECONDS) + pauses


@dataclass(frozen=True)
class Storage:
    """URIs of what outlives a pod of a run."""

    dataset: str
    snapshots: str
    results: str


@dataclass(frozen=True)
class SharedStorage:
    """URIs of what outlives the runs: each dataset is in a folder of its own below `datasets`."""

    datasets: str
    snapshots: str
    results: str

    def with_dataset(self, name: str) -> Storage:
        """That of a run whose dataset has this name."""
        return Storage(f"{self.datasets.rstrip('/')}/{name}", self.snapshots, self.results)


@dataclass(frozen=True)
class Profile:
    """The whole of infra/cluster.yaml."""

    image: str
    namespace: str
    service_account: str
    queue: str | None
    mlflow: str
    storage: SharedStorage
    volumes: dict[str, str]
    secrets: dict[str, dict[str, str]]
    currency: str  # of every gpu_hour_price
    gpu_label: str
    spot: SpotNodes
    pods: dict[str, Pod]

    def __post_init__(self) -> None:
        for name in (self.service_account, *self.secrets, *([self.queue] if self.queue else [])):
            _require(bool(re.fullmatch(NAME, name)), f"{name!r} is no name of a Kubernetes object")
        for name in (self.namespace, *self.volumes):
            _require(bool(re.fullmatch(LABEL, name)), f"{name!r} is no name of a namespace or a volume")
        _require(re.match(r"https?://", self.mlflow) is not None, f"mlflow: {self.mlflow} is no http(s) URL")
        _require(bool(re.fullmatch(r"\S+", self.currency)), "currency: one word is expected, such as USD")
        for path in self.volumes.values():
            _require(path.startswith("/"), f"volumes: {path}: must be an absolute path")

    def node_labels(self, pod: Pod) -> dict[str, str]:
        """Those that a node of `pod` must have."""
        card = {self.gpu_label: pod.gpu} if pod.gpu else {}
        return {**card, **pod.node_selectors, **(self.spot.node_selectors if pod.spot else {})}

    def tolerations(self, pod: Pod) -> tuple[Toleration, ...]:
        """What `pod` does not mind of a node."""
        return pod.tolerations + (self.spot.tolerations if pod.spot else ())

    def pod(self, phase: str | None) -> Pod:
        """What the training of the phase with this key gets; None: any other stage."""
        if phase is None:
            return self.pods[STAGES]
        return self.pods[max(key for key in self.pods if key != STAGES and key <= phase)]

    def pod_of(self, task: Task) -> Pod:
        """What the pod of a task gets: of a phase's GPUs as many as its stage uses."""
        pod = self.pod(task.key if task.gpus else None)
        return replace(pod, gpus=min(1, pod.gpus)) if task.gpus == "one" else pod


def load_profile(path: Path, image: str | None = None) -> Profile:
    """Read and check `path`, with `image` in the place of its own. Raises InputError that names the key."""
    values = read_yaml(path, "give --profile")
    if isinstance(values, dict):
        values |= {"image": image} if image else {}
        if isinstance(values.get("pods"), dict):
            values["pods"] = _filled(values["pods"], f"{path}: pods")
    return validated(Profile, values, str(path))


def _filled(pods: dict[Any, Any], where: str) -> dict[str, Any]:
    """Every entry with what it does not name taken from the one before it."""
    known = [STAGES, *map(phase_key, RESOLUTIONS)]
    for key in pods:
        if key not in known:
            raise InputError(f"{where}.{key}: unknown entry; known here: {', '.join(known)}")
    if list(pods) != [key for key in known if key in pods] or list(pods)[:2] != known[:2]:
        raise InputError(f"{where}: begins with {known[0]} and {known[1]}, then goes up by resolution")
    filled: dict[str, Any] = {}
    before: dict[str, Any] = {}
    for key, entry in pods.items():
        if not isinstance(entry, dict):
            raise InputError(f"{where}.{key}: a mapping of keys to values is expected")
        filled[key] = before = before | entry
    return filled
