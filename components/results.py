"""The results of tasks: a cache in a folder or on S3 that pods, laptops and `progan collect` share.

The identity of a task covers everything that decides its result, so what was computed once, on a laptop or in
a pod, is never computed again. The tasks that every run repeats are stored under the run:

    train/r0008-<identity>/checkpoints/r0008/networks.safetensors …  history/r0008.csv  receipt.json
    runs/<run>/run.json  verdict.json  report/report.html …  receipts/gate.json …

The receipt is written last. No receipt, no result.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from posixpath import relpath
from typing import Protocol

from components import stages
from components.identity import digests_of_dataset, files_below, identity
from components.object_store import open_store
from components.receipts import Receipt
from components.stages import Task
from progan.config import Config
from progan.dataset.manifest import Manifest
from progan.errors import InputError
from progan.files import atomic_file, atomic_folder, sha256_file
from progan.store import Store


class Source(Protocol):
    """A source of results: the cache at an address, or a checkout."""

    def receipt(self, task: Task, identity: str) -> Receipt | None:
        """The receipt of the task with this identity; None if the source does not have its result."""


@dataclass(frozen=True)
class Trace:
    """What a sequence of sources has of one task."""

    task: Task
    identity: str | None  # None if no source has the result of a task before it
    receipt: Receipt | None
    source: Source | None  # the first that has the result


def trace(config: Config, manifest: Manifest, *sources: Source) -> Iterator[Trace]:
    """The tasks of `run: once`, in order, each with its receipt if one of `sources` has its result."""
    digests = dict(digests_of_dataset(stages.task(config, "build-dataset").outputs[0].path, manifest))
    for task in stages.tasks(config):
        if task.run == "once":
            name = identity(config, task, digests)
            receipts = ((source.receipt(task, name), source) for source in sources if name is not None)
            receipt, source = next((pair for pair in receipts if pair[0] is not None), (None, None))
            digests |= receipt.digests if receipt else {}
            yield Trace(task, name, receipt, source)


@dataclass(frozen=True)
class Results:
    """The results at `uri`. The identity of a task of `run: always` is the name of the run."""

    uri: str

    @cached_property
    def store(self) -> Store:
        return open_store(self.uri)

    def receipt(self, task: Task, identity: str) -> Receipt | None:
        name = _receipt(task, identity)
        content = self.store.read(name)
        receipt = None if content is None else Receipt.parse(content, f"{self.uri}/{name}")
        return receipt if receipt and receipt.is_of(task, identity) else None

    def keep(self, task: Task, identity: str, root: Path) -> None:
        """Store the outputs of `task` below `root`, and their receipt last."""
        folder, receipt = _folder(task, identity), Receipt.of(task, identity, root)
        self.store.delete(_receipt(task, identity))
        for path in receipt.files:
            self.store.upload(f"{folder}/{path}", root / path)
        self.store.write(_receipt(task, identity), receipt.content())

    def bring(self, task: Task, identity: str, root: Path, only: Collection[str] | None = None) -> bool:
        """Write the outputs and the receipt of `task` below `root`; False if there is no result.

        Outputs that are there already are not fetched again. Raises InputError if a stored file is damaged.

        only: the paths of the outputs to bring; None for all, with the receipt.
        """
        receipt = self.receipt(task, identity)
        if receipt is None:
            return False
        try:
            for output in receipt.outputs if only is None else only:
                self._bring_output(receipt, output, _folder(task, identity), root)
        except _DamagedError as damaged:
            raise InputError(
                f"{self.uri}/{damaged}: missing or damaged; delete {_receipt(task, identity)} there to have "
                f"{task.title} done again"
            ) from None
        if task.receipt and only is None:
            with atomic_file(root / task.receipt) as beside:
                beside.write_bytes(receipt.content())
        return True

    def _bring_output(self, receipt: Receipt, output: str, folder: str, root: Path) -> None:
        stored = receipt.files_of(output)
        here = {file.relative_to(root).as_posix(): sha256_file(file) for file in files_below(root / output)}
        if (root / output).exists() and here == stored:
            return
        if output in stored:
            with atomic_file(root / output) as beside:
                self._bring_file(receipt, output, folder, beside)
        else:
            with atomic_folder(root / output) as beside:
                for path in stored:
                    self._bring_file(receipt, path, folder, beside / relpath(path, output))

    def _bring_file(self, receipt: Receipt, path: str, folder: str, to: Path) -> None:
        if not self.store.download(f"{folder}/{path}", to) or sha256_file(to) != receipt.files[path]:
            raise _DamagedError(f"{folder}/{path}")


class _DamagedError(Exception):
    """A stored file is not the one that its receipt names."""


def _folder(task: Task, identity: str) -> str:
    """The folder of a task's outputs, by a prefix of its identity."""
    if task.run == "always":
        return f"runs/{identity}"
    return f"{task.stage}/{'' if task.key is None else f'{task.key}-'}{identity[:16]}"


def _receipt(task: Task, identity: str) -> str:
    name = f"receipts/{task.stage}.json" if task.run == "always" else "receipt.json"
    return f"{_folder(task, identity)}/{name}"
