"""Receipts: written last beside a task's outputs, a receipt says what they are. No receipt, no result."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from posixpath import normpath, relpath

from components.identity import digest_of_files, digest_of_path, digests_of_dataset, files_below, identity
from components.stages import Task
from progan.config import Config
from progan.dataset.manifest import Manifest
from progan.dataset.reader import load_manifest
from progan.errors import InputError
from progan.files import parse_json, read_bytes, sha256_file, write_json
from progan.validation import from_json


@dataclass(frozen=True)
class Receipt:
    """The outputs of one task."""

    task: str  # its name
    identity: str
    outputs: tuple[str, ...]  # paths below the project's root
    files: dict[str, str]  # SHA-256 of every file of the outputs, by its path there

    def files_of(self, output: str) -> dict[str, str]:
        """The files of one output, which is a file or a folder."""
        return {
            path: digest
            for path, digest in self.files.items()
            if path == output or path.startswith(f"{output}/")
        }

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each output, by its path, as it enters the identities of tasks that read it."""
        return {
            output: digest_of_files(
                {relpath(path, output): digest for path, digest in self.files_of(output).items()}
            )
            for output in self.outputs
        }

    def is_of(self, task: Task, identity: str) -> bool:
        """Whether this is the receipt of `task` with this identity, and of the outputs that it has today."""
        return self.identity == identity and self.outputs == _outputs(task)

    @classmethod
    def of(cls, task: Task, identity: str, root: Path) -> "Receipt":
        """The receipt of the outputs below `root`."""
        files = {
            file.relative_to(root).as_posix(): sha256_file(file)
            for output in _outputs(task)
            for file in files_below(root / output)
        }
        return cls(task.name, identity, _outputs(task), files)

    @classmethod
    def parse(cls, content: bytes, where: str) -> "Receipt":
        """The receipt that `content` holds; InputError if it is none. where: its address, for the error."""
        try:
            receipt = from_json(cls, parse_json(content))
            if any(normpath(path) != path for path in receipt.files):
                raise ValueError("a path that leads out of an output")
            return receipt
        except ValueError:
            raise InputError(f"{where}: no receipt; delete it to have its task done again") from None

    def content(self) -> bytes:
        return (json.dumps(asdict(self), indent=2) + "\n").encode()


def _outputs(task: Task) -> tuple[str, ...]:
    return tuple(file.path for file in task.outputs)


@dataclass(frozen=True)
class Workspace:
    """A project's folder as a source of results."""

    root: Path

    def receipt(self, task: Task, identity: str) -> Receipt | None:
        """The receipt of the task with this identity; None if its result is not here."""
        file = self.root / str(task.receipt)
        receipt = Receipt.parse(read_bytes(file, ""), str(file)) if file.exists() else None
        return receipt if receipt and receipt.is_of(task, identity) else None


@contextmanager
def recorded(config: Config, task: Task, **given: Path) -> Iterator[tuple[str, dict[str, Path]]]:
    """Do `task` in the current folder: its receipt is written when the block ends without an error.

    Yields its identity and the paths of its files by name. given: the paths of inputs that lie elsewhere.
    """
    paths, file = task.paths() | given, Path(str(task.receipt))
    identity = identity_here(config, task, paths)
    file.unlink(missing_ok=True)
    yield identity, paths
    write_json(file, asdict(Receipt.of(task, identity, Path())))


def identity_here(
    config: Config, task: Task, paths: Mapping[str, Path], manifest: Manifest | None = None
) -> str:
    """The identity of `task` with the inputs at `paths`, by their names; InputError if one is missing.

    manifest: the dataset's, if the dataset does not lie there.
    """
    digests: dict[str, str] = {}
    for file in task.inputs:
        lies_at = paths[file.name]
        if file.name == "dataset":
            digests |= digests_of_dataset(file.whole, manifest or load_manifest(lies_at))
        elif file.path not in digests and lies_at.exists():
            digests[file.path] = digest_of_path(lies_at)
        if file.path not in digests:
            missing = f"has no {Path(file.path).name}" if lies_at.exists() else "no such file"
            raise InputError(f"{lies_at}: {missing}; run the stage that makes it (dvc repro)")
    name = identity(config, task, digests)
    assert name is not None
    return name
