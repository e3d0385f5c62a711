"""Snapshots: the state from which an interrupted phase continues, bit for bit.

They are safetensors files with JSON metadata: reading one cannot execute anything.
"""

import hashlib
import json
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import safetensors.torch
from torch import Tensor

from progan.errors import Unavailable
from progan.store import Store

LATEST = "LATEST"
NAME = re.compile(r"\d{12}-[0-9a-f]{32}\.safetensors")
KEPT_SNAPSHOTS = 2
COPYING = 0.02  # the largest part of the training time that copies off the device may take
WRITING = 0.1  # the largest part of the time in which a snapshot is being written, beside training
INTERVAL_SECONDS = 10.0  # the shortest time between snapshots
COPIED_PER_SECOND, STORED_PER_SECOND = 1e9, 1e8  # bytes that the plan expects off a device and into a store
RETRY_SECONDS = 300.0  # the longest time to the next one after one that could not be written

Snapshot = tuple[int, dict[str, Tensor], dict[str, Any]]  # images shown, tensors on the CPU, facts


def folder_name(key: str, identity: str) -> str:
    """The folder of a phase with this identity in the store of snapshots."""
    return f"{key}-{identity[:16]}"


def expected_interval(size: int) -> float:
    """The seconds between two snapshots of `size` bytes, as the plan expects them."""
    return max(INTERVAL_SECONDS, size / COPIED_PER_SECOND / COPYING, size / STORED_PER_SECOND / WRITING)


class SnapshotFolder:
    """The last snapshots of one phase with one identity, in the folder `name` of a store.

    A snapshot's name contains its digest. If a snapshot is damaged, the one before it is read instead.
    """

    def __init__(self, store: Store, key: str, identity: str) -> None:
        self.store, self.name = store, folder_name(key, identity)

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
            if content is not None and Path(name).stem.split("-")[1] == _digest(content):
                return safetensors.torch.load(content), json.loads(_metadata(content)["facts"])
            print(f"warning: {name}: damaged; an older snapshot is used, if there is one", file=sys.stderr)
        return None

    def newest(self) -> int | None:
        """The images shown before the newest snapshot, damaged or not; None if there is none."""
        names = self._newest_first()
        return int(Path(names[0]).stem.split("-")[0]) if names else None

    def _newest_first(self) -> list[str]:
        pointer = self.store.read(f"{self.name}/{LATEST}") or b""
        latest = f"{self.name}/{pointer.decode(errors='replace').strip()}"
        return sorted(self._snapshots(), key=lambda name: (name == latest, name), reverse=True)

    def _snapshots(self) -> list[str]:
        return [name for name in self.store.names(self.name) if NAME.fullmatch(Path(name).name)]


class SnapshotWriter:
    """Writes the snapshots of a phase in a thread, one at a time: training waits only for the copy.

    A context manager; at its end, the thread has finished.
    """

    def __init__(self, folder: SnapshotFolder) -> None:
        self._folder, self._thread = folder, ThreadPoolExecutor(1)
        self._writing: Future[tuple[bool, float]] | None = None
        self._last, self._interval = time.monotonic(), INTERVAL_SECONDS

    def __enter__(self) -> "SnapshotWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def due(self) -> bool:
        """Whether it is time for the next snapshot, never while one is being written."""
        if self._writing and self._writing.done():
            self.wait()
        return self._writing is None and time.monotonic() - self._last >= self._interval

    def start(self, copy: Callable[[], Snapshot]) -> None:
        """Write what `copy` returns in the background, as soon as no other snapshot is being written."""
        self.wait()
        self._last = time.monotonic()
        snapshot = copy()
        self._interval = max(INTERVAL_SECONDS, (time.monotonic() - self._last) / COPYING)
        self._writing = self._thread.submit(self._write, snapshot)

    def wait(self) -> bool:
        """Wait for the snapshot that is being written; False if the store was not available.

        Raises InputError if the store refused it.
        """
        if self._writing is None:
            return True
        writing, self._writing = self._writing, None
        written, seconds = writing.result()
        self._interval = max(self._interval, seconds / WRITING)
        if not written:
            self._interval = min(self._interval, RETRY_SECONDS)
        return written

    def _write(self, snapshot: Snapshot) -> tuple[bool, float]:
        began = time.monotonic()
        return self._folder.write(*snapshot), time.monotonic() - began


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file, from the JSON header after its first eight bytes."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
