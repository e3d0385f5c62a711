"""What tasks made, kept where later tasks, later runs and `progan collect` find it: a folder, or S3.

Whatever decides a task's result is in its identity, so that what was made once, on a laptop or in a pod, is
found again and is not paid for twice. What every run does anew is kept by the run:

    train/r0008-<identity>/checkpoints/r0008/networks.safetensors …  history/r0008.csv  receipt.json
    runs/<run>/run.json  verdict.json  report/report.html …  receipts/gate.json …

The receipt is written last: without it there is nothing yet.
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
    """Where results may be found: the results at an address, or a checkout."""

    def receipt(self, task: Task, identity: str) -> Receipt | None:
        """That of the task with this identity; None when its result is not there."""


@dataclass(frozen=True)
class Trace:
    """What is known of a task that is run once."""

    task: Task
    identity: str | None  # None where the result of a task before it is nowhere
    receipt: Receipt | None
    source: Source | None  # the one that has it


def trace(config: Config, manifest: Manifest, *sources: Source) -> Iterator[Trace]:
    """The tasks that are run once, in order, each with its result if one of `sources` has it."""
    every = stages.tasks(config)
    digests = dict(digests_of_dataset(stages.task(config, "build-dataset").outputs[0].path, manifest))
    for task in every:
        if task.run == "once":
            name = identity(config, task, digests)
            found = ((source, source.receipt(task, name)) for source in sources if name is not None)
            source, receipt = next(((each, got) for each, got in found if got is not None), (None, None))
            digests |= receipt.digests if receipt else {}
            yield Trace(task, name, receipt, source)


@dataclass(frozen=True)
class Results:
    """The results that are kept at `uri`. A task that every run does has the run's name as its identity."""

    uri: str

    @cached_property
    def store(self) -> Store:
        return open_store(self.uri)

    def receipt(self, task: Task, identity: str) -> Receipt | None:
        name = _receipt(task, identity)
        content = self.store.read(name)
        return None if content is None else Receipt.parse(content, f"{self.uri}/{name}")

    def keep(self, task: Task, identity: str, root: Path) -> None:
        """Keep the outputs of `task` that lie below `root`."""
        folder, receipt = _folder(task, identity), Receipt.of(task, identity, root)
        self.store.delete(_receipt(task, identity))
        for path in receipt.files:
            self.store.upload(f"{folder}/{path}", root / path)
        self.store.write(_receipt(task, identity), receipt.content())

    def bring(self, task: Task, identity: str, root: Path, only: Collection[str] | None = None) -> bool:
        """Lay the outputs and the receipt out below `root`; False when they are not kept.

        What lies there already is not fetched again. Raises InputError when what is kept is damaged.

        only: paths of those outputs that are wanted.
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
        wanted = receipt.files_of(output)
        there = {file.relative_to(root).as_posix(): sha256_file(file) for file in files_below(root / output)}
        if (root / output).exists() and there == wanted:
            return
        if output in wanted:
            with atomic_file(root / output) as beside:
                self._bring_file(receipt, output, folder, beside)
        else:
            with atomic_folder(root / output) as beside:
                for path in wanted:
                    self._bring_file(receipt, path, folder, beside / relpath(path, output))

    def _bring_file(self, receipt: Receipt, path: str, folder: str, to: Path) -> None:
        if not self.store.download(f"{folder}/{path}", to) or sha256_file(to) != receipt.files[path]:
            raise _DamagedError(f"{folder}/{path}")


class _DamagedError(Exception):
    """A file that is kept is not the one that its receipt names."""


def _folder(task: Task, identity: str) -> str:
    """Where the outputs of a task lie; a prefix of the identity tells enough."""
    if task.run == "always":
        return f"runs/{identity}"
    return f"{task.stage}/{'' if task.key is None else f'{task.key}-'}{identity[:16]}"


def _receipt(task: Task, identity: str) -> str:
    name = f"receipts/{task.stage}.json" if task.run == "always" else "receipt.json"
    return f"{_folder(task, identity)}/{name}"
