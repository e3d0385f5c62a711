"""Checkpoints: what a finished phase hands on, a folder of safetensors and JSON.

Nothing that is read here can execute anything. A registered model ships this file.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from progan import RESULTS_VERSION, __version__
from progan.config import A_RESOLUTION, PhaseConfig, TrainingConfig
from progan.errors import InputError
from progan.files import atomic_folder, read_json, sha256_file, write_json
from progan.network_config import NetworkConfig
from progan.resolutions import phase_key
from progan.validation import Checked, Faults, from_sealed_json, sealed

if TYPE_CHECKING:  # the facts are read by commands that need no PyTorch, which takes seconds to import
    from torch import Tensor

NETWORKS, OPTIMIZERS, FACTS = "networks.safetensors", "optimizers.safetensors", "checkpoint.json"


def prefixed(prefix: str, tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """`tensors` under names that begin with `prefix` and a dot; each a contiguous copy on the CPU."""
    return {
        f"{prefix}.{name}": tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in tensors.items()
    }


def stripped(prefix: str, tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """The tensors whose names begin with `prefix` and a dot, without them: `prefixed` undone."""
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }


# ------------------------------------------------------------------------------------------------
# checkpoint.json. What an older version wrote may lack the fields that have a default


@dataclass(frozen=True)
class DatasetFacts:
    """What a phase was trained with."""

    name: str
    images: int | None  # None: not known
    digest: str  # of the level
    classes: tuple[str, ...] = ()  # their names, by label


@dataclass(frozen=True)
class Versions:
    """The software that made a checkpoint."""

    progan: str
    results: int
    torch: str | None = None
    python: str | None = None

    @classmethod
    def here(cls) -> "Versions":
        import torch

        return cls(__version__, RESULTS_VERSION, str(torch.__version__), platform.python_version())


@dataclass(frozen=True)
class OfficialFile:
    """A file of the authors' weights."""

    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class CheckpointFacts(Checked):
    """What a checkpoint says of itself."""

    format: Literal[1] = 1
    phase: str  # its key
    resolution: Annotated[int, A_RESOLUTION]
    images_shown: int  # since the first phase began
    kimg: float  # the same, in thousands
    identity: str  # hash of all that decides what the phase becomes
    init: str | None  # digest of the checkpoint that it began with
    network: NetworkConfig
    training: TrainingConfig | None  # None: imported weights, as for the schedule
    schedule: PhaseConfig | None
    dataset: DatasetFacts
    ranks: int | None = None  # None: imported
    threads: int | None = None  # of each rank on a CPU; None: on a GPU, or imported
    versions: Versions
    official: OfficialFile | None = None  # None: trained
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 by name, filled in when they are written

    @staticmethod
    def check_phase(phase: str, resolution: int) -> Faults:
        if phase != phase_key(resolution):
            yield "phase", f"must be {phase_key(resolution)} at {resolution} px, not {phase}"

    @property
    def classes(self) -> list[str]:
        """The classes a conditional generator was trained with, by label; empty for any other."""
        names, count = list(self.dataset.classes), self.network.label_size
        return names if len(names) == count else [str(label) for label in range(count)]


# ------------------------------------------------------------------------------------------------
# The folder


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder whose files are what `checkpoint.json` says they are."""

    folder: Path
    facts: CheckpointFacts

    def networks(self, prefix: str) -> "dict[str, Tensor]":
        """The state of "generator", "discriminator" or "ema", by parameter name, on the CPU."""
        from safetensors.torch import load_file

        return stripped(prefix, load_file(self.folder / NETWORKS))

    @property
    def digest(self) -> str:
        """SHA-256 of the networks: what the next phase's identity takes in."""
        return self.facts.files[NETWORKS]


def write_checkpoint(
    folder: Path,
    facts: CheckpointFacts,
    networks: "dict[str, Tensor]",
    optimizers: "dict[str, Tensor] | None",
) -> None:
    """Write a checkpoint folder, whole or not at all; without optimisers no phase can begin with it."""
    from safetensors.torch import save_file

    with atomic_folder(folder) as beside:
        save_file(networks, beside / NETWORKS)
        if optimizers is not None:
            save_file(optimizers, beside / OPTIMIZERS)
        digests = {file.name: sha256_file(file) for file in sorted(beside.iterdir())}
        write_json(beside / FACTS, sealed(asdict(replace(facts, files=digests))))


def read_checkpoint(folder: Path, needed: Sequence[str] = (NETWORKS, OPTIMIZERS)) -> Checkpoint:
    """Open `folder`, checking the digests of the files that are `needed`.

    Raises InputError when they are not what it says.
    """
    again = f"delete {folder} and run its phase again"
    try:
        facts = from_sealed_json(CheckpointFacts, read_json(folder / FACTS))
    except ValueError as error:
        wrong = f"{error}; edited, damaged, or of another version"
        raise InputError(f"{folder / FACTS}: {wrong}: {again}") from None
    if NETWORKS not in facts.files:
        raise InputError(f"{folder / FACTS}: files.{NETWORKS}: missing; {again}")
    for name in needed:
        if not (folder / name).is_file() or sha256_file(folder / name) != facts.files.get(name):
            raise InputError(f"{folder / name}: missing or damaged; {again}")
    return Checkpoint(folder, facts)
