"""The cluster profile, infra/cluster.yaml, as typed, frozen, validated values: where the pipeline runs."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from components.stages import Task
from progan.resolutions import RESOLUTIONS, phase_key
from progan.validation import (
    NOT_NEGATIVE,
    POSITIVE,
    Checked,
    Constraint,
    Fault,
    Faults,
    examined,
    read_yaml,
    refusal,
)

STAGES = "stages"  # the entry of `pods` for every stage but training
ENTRIES = [STAGES, *map(phase_key, RESOLUTIONS)]
FIRST_PAUSE_SECONDS, PAUSE_FACTOR = 60, 2  # before a retry, and how it grows
QUEUE_SECONDS = 24 * 3600  # that an attempt may wait for a node: the window counts it, the timeout does not

AN_OBJECT_NAME = Constraint(
    "a name of a Kubernetes object", lambda value: re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", value)
)
A_LABEL = Constraint(  # Kubeflow names a volume after its claim, so that a claim's name must be a label, too
    "a DNS label: a-z, 0-9 and -, at most 63 characters",
    lambda value: re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value),
)


@dataclass(frozen=True)
class Toleration(Checked):
    """A taint of nodes that a pod does not mind."""

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
    """What one pod gets."""

    gpu: str | None  # the value of `gpu_label` on its nodes; null: any card
    gpus: Annotated[int, Constraint("from 0 to 8, those of one node", lambda value: 0 <= value <= 8)]
    gpu_memory_gib: float  # of one card
    gpu_hour_price: Annotated[float, NOT_NEGATIVE]
    cpu: Annotated[float, POSITIVE]
    memory_gib: Annotated[float, POSITIVE]
    shm_gib: Annotated[float, POSITIVE]
    ephemeral_gib: Annotated[float, POSITIVE]
    node_selectors: dict[str, str]
    tolerations: tuple[Toleration, ...]
    spot: bool
    timeout_hours: Annotated[float, POSITIVE]  # of one attempt
    retries: Annotated[int, NOT_NEGATIVE]

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
class Profile(Checked):
    """The whole of infra/cluster.yaml."""

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
    """Read and check `path`, with `image` instead of its own. Raises InputError that names every fault."""
    values = read_yaml(path, "give --profile")
    faults: list[Fault] = []
    if isinstance(values, dict):
        values |= {"image": image} if image else {}
        if isinstance(pods := values.get("pods"), dict):
            faults += _misplaced(pods)
            values["pods"] = _filled(pods)
    profile, found = examined(Profile, values)
    if faults := [*faults, *_without_inherited(found)]:
        raise refusal(str(path), faults)
    return profile


def _misplaced(pods: dict[Any, Any]) -> Faults:
    """Entries that are unknown or not in order."""
    for key in pods:
        if isinstance(key, str) and key not in ENTRIES:
            yield f"pods.{key}", f"unknown entry; known here: {', '.join(ENTRIES)}"
    ordered = [key for key in ENTRIES if key in pods]
    if [key for key in pods if key in ENTRIES] != ordered or ordered[:2] != ENTRIES[:2]:
        yield "pods", f"must begin with {ENTRIES[0]} and {ENTRIES[1]}, then go up by resolution"


def _filled(pods: dict[Any, Any]) -> dict[Any, Any]:
    """Every entry with what it does not give taken from the one before it."""
    filled: dict[Any, Any] = {}
    before: dict[str, Any] = {}
    for key, entry in pods.items():
        if isinstance(entry, dict):
            entry = before = before | entry
        filled[key] = entry
    return filled


def _without_inherited(faults: list[Fault]) -> list[Fault]:
    """A fault of an entry of `pods` only once, not of the entries after it again."""
    once: dict[Fault, Fault] = {}
    for key, problem in faults:
        section, _, rest = key.partition(".")
        field = rest.partition(".")[2]
        once.setdefault((field, problem) if section == "pods" and field else (key, problem), (key, problem))
    return list(once.values())
