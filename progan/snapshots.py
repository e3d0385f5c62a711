"""Checkpoints, which a finished phase hands on, and snapshots, from which a phase goes on, bit for bit.

Both are safetensors and JSON: nothing that is read here can execute anything.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from progan.errors import InputError
from progan.files import atomic_file, atomic_folder, read_json, sha256_file, write_json

NETWORKS, OPTIMIZERS, FACTS = "networks.safetensors", "optimizers.safetensors", "checkpoint.json"
LATEST = "LATEST"
KEPT_SNAPSHOTS = 2


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` under names that begin with `prefix` and a dot; each a contiguous copy on the CPU."""
    return {
        f"{prefix}.{name}": tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()
    }


def stripped(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix` and a dot, without them: `prefixed` undone."""
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }


# ------------------------------------------------------------------------------------------------
# Checkpoints


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder whose files are what `checkpoint.json` says they are."""

    folder: Path
    facts: dict[str, Any]

    def networks(self, prefix: str) -> dict[str, Tensor]:
        """The state of "generator", "discriminator" or "ema", by parameter name, on the CPU."""
        return stripped(prefix, safetensors.torch.load_file(self.folder / NETWORKS))

    @property
    def digest(self) -> str:
        """SHA-256 of the networks: what the next phase's fingerprint takes in."""
        return self.facts["files"][NETWORKS]


def write_checkpoint(
    folder: Path, networks: dict[str, Tensor], optimizers: dict[str, Tensor], facts: dict[str, Any]
) -> None:
    """Write a checkpoint folder, whole or not at all."""
    with atomic_folder(folder) as beside:
        safetensors.torch.save_file(networks, beside / NETWORKS)
        safetensors.torch.save_file(optimizers, beside / OPTIMIZERS)
        digests = {name: sha256_file(beside / name) for name in (NETWORKS, OPTIMIZERS)}
        write_json(beside / FACTS, facts | {"files": digests})


def read_checkpoint(folder: Path) -> Checkpoint:
    """Open `folder`, checking its files' digests. Raises InputError when it is not what it says."""
    facts = read_json(folder / FACTS)
    for name, digest in facts["files"].items():
        if not (folder / name).exists() or sha256_file(folder / name) != digest:
            raise InputError(f"{folder / name}: missing or damaged; delete {folder} and run its phase again")
    return Checkpoint(folder, facts)


def load_grown(module: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Load the levels that `state` has into `module`, which may have grown newer ones besides.

    Raises InputError when a tensor has no place or another shape: a checkpoint of another configuration.
    """
    own = module.state_dict()
    for name, tensor in state.items():
        if name not in own or own[name].shape != tensor.shape:
            has = tuple(own[name].shape) if name in own else "no such layer"
            raise InputError(
                f"{where}: made with another network configuration ({name}: {tuple(tensor.shape)}, not {has} "
                "as by params.yaml); set network as it was, or train the phases before again"
            )
    module.load_state_dict(own | state)


# ------------------------------------------------------------------------------------------------
# Snapshots


class SnapshotFolder:
    """The last snapshots of one phase with one fingerprint.

    A file's name says its content's digest, so that a damaged file is known and the one before it serves.
    """

    def __init__(self, root: Path, key: str, fingerprint: str) -> None:
        self.folder = root / f"{key}-{fingerprint[:16]}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def write(self, images_shown: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Write a snapshot, point LATEST at it, and remove all but the last two and what a kill cut off."""
        for cut_off in self.folder.glob(".*.partial"):
            cut_off.unlink()
        content = safetensors.torch.save(tensors, metadata={"facts": json.dumps(facts)})
        path = self.folder / f"{images_shown:012d}-{_digest(content)}.safetensors"
        with atomic_file(path) as beside:
            beside.write_bytes(content)
        with atomic_file(self.folder / LATEST) as beside:
            beside.write_text(path.name + "\n")
        for old in self._files()[:-KEPT_SNAPSHOTS]:
            old.unlink()

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and facts of the newest whole snapshot; None when there is none."""
        for path in self._newest_first():
            content = path.read_bytes()
            if path.stem.split("-")[1] != _digest(content):
                continue
            with safe_open(path, framework="pt") as file:
                facts = json.loads(file.metadata()["facts"])
            try:
                return safetensors.torch.load(content), facts
            except SafetensorError:
                continue
        return None

    def _newest_first(self) -> list[Path]:
        files = self._files()[::-1]
        latest = self.folder / LATEST
        named = latest.read_text().strip() if latest.exists() else ""
        return sorted(files, key=lambda path: path.name != named)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.safetensors"))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
