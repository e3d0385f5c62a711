"""Checkpoints, which a finished phase hands on, and snapshots, from which a phase goes on, bit for bit.

Both are safetensors and JSON: nothing that is read here can execute anything.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from progan.errors import InputError, Unavailable
from progan.files import atomic_folder, read_json, sha256_file, write_json
from progan.store import Store

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
        """SHA-256 of the networks: what the next phase's identity takes in."""
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


def read_checkpoint(folder: Path, needed: Sequence[str] = (NETWORKS, OPTIMIZERS)) -> Checkpoint:
    """Open `folder`, checking the digests of the files that are `needed`.

    Raises InputError when they are not what it says.
    """
    facts = read_json(folder / FACTS)
    if not isinstance(facts, dict) or not isinstance(facts.get("files"), dict):
        raise InputError(f"{folder / FACTS}: not of a checkpoint; delete {folder} and run its phase again")
    for name in needed:
        if not (folder / name).exists() or sha256_file(folder / name) != facts["files"].get(name):
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
    """The last snapshots of one phase with one identity, in the folder `name` of a store.

    A snapshot's name says its content's digest, so that a damaged one is known and the one before it serves.
    """

    def __init__(self, store: Store, key: str, identity: str) -> None:
        self.store, self.name = store, f"{key}-{identity[:16]}"

    def write(self, images_shown: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> bool:
        """Write a snapshot, point LATEST at it, and remove all but the last two and what a kill cut off.

        False, with a warning, when the store is away: that costs what a kill would undo, never the run.
        """
        content = safetensors.torch.save(tensors, metadata={"facts": json.dumps(facts)})
        name = f"{images_shown:012d}-{_digest(content)}.safetensors"
        try:
            self.store.discard_unfinished(self.name)
            self.store.write(f"{self.name}/{name}", content)
            self.store.write(f"{self.name}/{LATEST}", f"{name}\n".encode())
            for old in self._snapshots()[:-KEPT_SNAPSHOTS]:
                self.store.delete(old)
        except Unavailable as error:
            print(f"warning: {error}; training goes on without this snapshot", file=sys.stderr, flush=True)
            return False
        return True

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and facts of the newest whole snapshot; None when there is none."""
        for name in self._newest_first():
            content = self.store.read(name)
            if content is None or Path(name).stem.split("-")[1] != _digest(content):
                continue
            try:
                return safetensors.torch.load(content), json.loads(_metadata(content)["facts"])
            except SafetensorError:
                continue
        return None

    def newest(self) -> int | None:
        """The images shown by when the newest snapshot was written, whole or not; None when there is none."""
        names = self._newest_first()
        return int(Path(names[0]).stem.split("-")[0]) if names else None

    def _newest_first(self) -> list[str]:
        latest = self.store.read(f"{self.name}/{LATEST}") or b""
        named = f"{self.name}/{latest.decode().strip()}"
        return sorted(self._snapshots(), key=lambda name: (name == named, name), reverse=True)

    def _snapshots(self) -> list[str]:
        return [name for name in self.store.names(self.name) if name.endswith(".safetensors")]


def _metadata(content: bytes) -> dict[str, str]:
    """What stands in a safetensors file besides its tensors, in the JSON behind its first eight bytes."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
