"""The cluster profile, infra/cluster.yaml, as typed, frozen, validated values: where the pipeline runs."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from components.signatures.trust import TrustedSigners
from components.stages import Task
from progan.resolutions import RESOLUTIONS, phase_key
from progan.validation import (
    Checked,
    Constraint,
    Fault,
    Faults,
    between,
    examined,
    read_yaml,
    refusal,
)

GPU = "nvidia.com/gpu"  # the resource
STAGES = "stages"  # the entry of `pods` for every stage but training
ENTRIES = [STAGES, *map(phase_key, RESOLUTIONS)]
FIRST_PAUSE_SECONDS, PAUSE_FACTOR = 60, 2  # the pause before a retry, and its growth
QUEUE_SECONDS = 24 * 3600  # an attempt's wait for a node: part of the retry window, not of the timeout

AN_AMOUNT = between(0.001, 100_000)  # which Kubernetes takes as a decimal: no exponent
AN_OBJECT_NAME = Constraint(
    "the name of a Kubernetes object", lambda value: re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", value)
)
A_LABEL = Constraint(  # a claim's name must be a label too, as Kubeflow names the volume after the claim
    "a DNS label: a-z, 0-9 and -, at most 63 characters",
    lambda value: re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value),
)


@dataclass(frozen=True)
class Toleration(Checked):
    """A toleration of a pod, as Kubernetes has it."""

    key: str
    operator: Literal["Exists", "Equal"]
    value: str | None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]

    @staticmethod
    def check_value(operator: str, value: str | None) -> Faults:
        if (operator == "Equal") != (value is not None):
            yield "value", "Equal needs a value, Exists must have null"


@dataclass(frozen=True)
class SpotNodes:
    """How a cluster marks its spot nodes."""

    node_selectors: dict[str, str]
    tolerations: tuple[Toleration, ...]


@dataclass(frozen=True)
class Pod(Checked):
    """The resources, nodes, time and retries of a pod."""

    gpu: str | None  # the value of `gpu_label` on its nodes; null: any GPU
    gpus: Annotated[int, Constraint("from 0 to 8, as in one node", lambda value: 0 <= value <= 8)]
    gpu_memory_gib: Annotated[float, between(0, 100_000)]  # of each GPU
    gpu_hour_price: Annotated[float, between(0, 10**6)]
    cpu: Annotated[float, AN_AMOUNT]
    memory_gib: Annotated[float, AN_AMOUNT]
    shm_gib: Annotated[float, AN_AMOUNT]
    ephemeral_gib: Annotated[float, AN_AMOUNT]
    node_selectors: dict[str, str]
    tolerations: tuple[Toleration, ...]
    spot: bool
    timeout_hours: Annotated[float, AN_AMOUNT]  # of one attempt
    retries: Annotated[int, between(0, 20)]  # the pause before the last is a year

    @staticmethod
    def check_gpu_memory(gpus: int, gpu_memory_gib: float) -> Faults:
        if (gpus > 0) != (gpu_memory_gib > 0):
            yield "gpu_memory_gib", "must be positive if there are gpus, and 0 if there are none"

    @staticmethod
    def check_shared_memory(shm_gib: float, memory_gib: float) -> Faults:
        if shm_gib >= memory_gib:
            yield "shm_gib", "is part of memory_gib and must be smaller"

    @property
    def timeout_seconds(self) -> int:
        return round(self.timeout_hours * 3600)

    @property
    def retry_window_seconds(self) -> int:
        """The time for all attempts, counted from the start of the first.

        Each attempt may wait for a node and then use its whole timeout; between attempts there is a pause.
        With a shorter window, a task that runs for long would not be retried.
        """
        pauses = sum(FIRST_PAUSE_SECONDS * PAUSE_FACTOR**retry for retry in range(self.retries))
        return (self.retries + 1) * (self.timeout_seconds + QUEUE_SECONDS) + pauses


@dataclass(frozen=True)
class Storage:
    """The addresses of what a run keeps beyond the life of its pods."""

    dataset: str
    snapshots: str
    results: str


@dataclass(frozen=True)
class SharedStorage:
    """The addresses that all runs share; each dataset has its own folder in `datasets`."""

    datasets: str
    snapshots: str
    results: str

    def with_dataset(self, name: str) -> Storage:
        """The storage of a run whose dataset has this name."""
        return Storage(f"{self.datasets.rstrip('/')}/{name}", self.snapshots, self.results)


@dataclass(frozen=True)
class Profile(Checked):
    """The contents of infra/cluster.yaml."""

    image: str
    namespace: Annotated[str, A_LABEL]
    service_account: Annotated[str, AN_OBJECT_NAME]
    queue: Annotated[str | None, AN_OBJECT_NAME]
    mlflow: Annotated[str, Constraint("an http(s) URL", lambda value: re.match(r"https?://", value))]
    storage: SharedStorage
    volumes: dict[str, str]
    secrets: dict[str, dict[str, str]]
    currency: Annotated[str, Constraint("one word, such as USD", lambda value: re.fullmatch(r"\S+", value))]
    gpu_label: str
    spot: SpotNodes
    pods: dict[str, Pod]
    attested: bool = False  # whether the image needs an SBOM and build provenance
    signatures: TrustedSigners | None = None  # whose signature a version needs; null: none

    @staticmethod
    def check_volumes(volumes: dict[str, str]) -> Faults:
        for claim, folder in volumes.items():
            if not A_LABEL.holds(claim):
                yield f"volumes.{claim}", f"the key must be {A_LABEL.description}"
            if not folder.startswith("/"):
                yield f"volumes.{claim}", f"must be an absolute path, not {folder!r}"

    @staticmethod
    def check_secrets(secrets: dict[str, dict[str, str]]) -> Faults:
        for name in secrets:
            if not AN_OBJECT_NAME.holds(name):
                yield f"secrets.{name}", f"the key must be {AN_OBJECT_NAME.description}"

    def node_labels(self, pod: Pod) -> dict[str, str]:
        """The labels that a node must have for `pod`."""
        gpu = {self.gpu_label: pod.gpu} if pod.gpu else {}
        return {**gpu, **pod.node_selectors, **(self.spot.node_selectors if pod.spot else {})}

    def tolerations(self, pod: Pod) -> tuple[Toleration, ...]:
        """The tolerations of `pod`, with those for spot nodes if it uses them."""
        return pod.tolerations + (self.spot.tolerations if pod.spot else ())

    def pod(self, phase: str | None) -> Pod:
        """The pod that trains the phase with this key; None: the pod of any other stage."""
        if phase is None:
            return self.pods[STAGES]
        return self.pods[max(key for key in self.pods if key != STAGES and key <= phase)]

    def pod_of(self, task: Task) -> Pod:
        """The pod of a task: that of its phase, with as many of the GPUs as its stage uses."""
        pod = self.pod(task.key if task.gpus else None)
        return replace(pod, gpus=min(1, pod.gpus)) if task.gpus == "one" else pod


def load_profile(path: Path, image: str | None = None) -> Profile:
    """Read and check `path`; `image` replaces its image. Raises an InputError that names every fault."""
    values = read_yaml(path, "give --profile")
    faults: list[Fault] = []
    if isinstance(values, dict):
        values |= {"image": image} if image else {}
        if isinstance(pods := values.get("pods"), dict):
            faults += _misplaced(pods)
            values["pods"] = _filled(pods)
    profile, value_faults = examined(Profile, values)
    if faults := [*faults, *_without_inherited(value_faults)]:
        raise refusal(str(path), faults)
    return profile


def _misplaced(pods: dict[Any, Any]) -> Faults:
    """The faults of entries that are unknown or out of order."""
    for key in pods:
        if isinstance(key, str) and key not in ENTRIES:
            yield f"pods.{key}", f"unknown entry; known here: {', '.join(ENTRIES)}"
    ordered = [key for key in ENTRIES if key in pods]
    if [key for key in pods if key in ENTRIES] != ordered or ordered[:2] != ENTRIES[:2]:
        yield "pods", f"must begin with {ENTRIES[0]} and {ENTRIES[1]}, then go up by resolution"


def _filled(pods: dict[Any, Any]) -> dict[Any, Any]:
    """The entries, each completed with the values of the entry before it."""
    filled: dict[Any, Any] = {}
    values: dict[str, Any] = {}
    for key, entry in pods.items():
        if isinstance(entry, dict):
            entry = values = values | entry
        filled[key] = entry
    return filled


def _without_inherited(faults: list[Fault]) -> list[Fault]:
    """The faults without those that entries of `pods` inherit from an entry before them."""
    first: dict[Fault, Fault] = {}
    for key, problem in faults:
        section, _, rest = key.partition(".")
        field = rest.partition(".")[2]
        first.setdefault((field, problem) if section == "pods" and field else (key, problem), (key, problem))
    return list(first.values())
