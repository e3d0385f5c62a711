"""A store of contents by name. This one is a folder; components/object_store has one in S3."""

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from progan.files import alone, atomic_file, disk_errors, read_failure


class Store(Protocol):
    """Contents by name; names are relative paths. A content appears whole or not at all.

    Every method raises Unavailable if the store does not answer, even after retries, and InputError if the
    store does not exist or denies permission.
    """

    def names(self, folder: str) -> list[str]:
        """The names of all contents below `folder`, sorted."""

    def read(self, name: str) -> bytes | None:
        """The content `name`; None if it does not exist."""

    def write(self, name: str, content: bytes) -> None:
        """Store `content` as `name`, replacing an earlier one."""

    def upload(self, name: str, file: Path) -> None:
        """Store the content of `file`, which need not fit into memory."""

    def download(self, name: str, file: Path) -> bool:
        """Write the content to `file`, which appears whole or not at all; False if `name` does not exist."""

    def delete(self, name: str) -> None:
        """Delete the content `name` if it exists."""

    def discard_unfinished(self, folder: str) -> None:
        """Delete what interrupted writes to `folder` have left."""

    def alone(self, folder: str, work: str) -> AbstractContextManager[None]:
        """Lock `folder` if the store has locks: wait while another process holds it.

        work: what the holder does, for the message that another one waits ("is training r0008").
        """


class FolderStore:
    """A store in a folder, which may be on a mounted file system."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, folder: str) -> list[str]:
        files = (path for path in (self.root / folder).rglob("[!.]*") if path.is_file())
        return sorted(path.relative_to(self.root).as_posix() for path in files)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise read_failure(self.root / name, error) from None

    def write(self, name: str, content: bytes) -> None:
        with atomic_file(self.root / name) as partial:
            partial.write_bytes(content)

    def upload(self, name: str, file: Path) -> None:
        with atomic_file(self.root / name) as partial:
            shutil.copyfile(file, partial)

    def download(self, name: str, file: Path) -> bool:
        if not (self.root / name).is_file():
            return False
        with atomic_file(file) as partial:
            shutil.copyfile(self.root / name, partial)
        return True

    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def discard_unfinished(self, folder: str) -> None:
        for partial in (self.root / folder).glob(".*.partial"):
            partial.unlink()

    def alone(self, folder: str, work: str) -> AbstractContextManager[None]:
        with disk_errors(self.root / folder):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        return alone(self.root / folder / "lock", work)
