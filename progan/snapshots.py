"""Snapshots: the state from which an interrupted phase continues, bit for bit.

They are safetensors files with JSON metadata: reading one cannot execute anything.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from progan.errors import Unavailable
from progan.store import Store

LATEST = "LATEST"
KEPT_SNAPSHOTS = 2


class SnapshotFolder:
    """The last snapshots of one phase with one identity, in the folder `name` of a store.

    A snapshot's name contains its digest. If a snapshot is damaged, the one before it is read instead.
    """

    def __init__(self, store: Store, key: str, identity: str) -> None:
        self.store, self.name = store, f"{key}-{identity[:16]}"

    def write(self, images_shown: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> bool:
        """Write a snapshot and point LATEST at it; delete unfinished files and all but the last two.

        Prints a warning and returns False if the store is not available: training continues all the same.
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
        """Tensors and facts of the newest undamaged snapshot; None if there is none."""
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
        """The images shown before the newest snapshot, damaged or not; None if there is none."""
        names = self._newest_first()
        return int(Path(names[0]).stem.split("-")[0]) if names else None

    def _newest_first(self) -> list[str]:
        pointer = self.store.read(f"{self.name}/{LATEST}") or b""
        latest = f"{self.name}/{pointer.decode().strip()}"
        return sorted(self._snapshots(), key=lambda name: (name == latest, name), reverse=True)

    def _snapshots(self) -> list[str]:
        return [name for name in self.store.names(self.name) if name.endswith(".safetensors")]


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file, from the JSON header after its first eight bytes."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
