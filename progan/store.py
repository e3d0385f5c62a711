"""Where contents are kept by name: here a folder; an object store is another room's."""

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from progan.files import alone, atomic_file, disk_errors


class Store(Protocol):
    """Contents by their names, which are relative paths. Each appears whole or not at all.

    Every method raises Unavailable when the store does not answer for a while, and InputError when it
    refuses: no such place, or no permission.
    """

    def names(self, folder: str) -> list[str]:
        """The names of what is below `folder`, sorted."""

    def read(self, name: str) -> bytes | None:
        """The content; None when there is none of this name."""

    def write(self, name: str, content: bytes) -> None:
        """Keep `content`, in the place of what had its name."""

    def upload(self, name: str, file: Path) -> None:
        """Keep the content of `file`, which need not fit into memory."""

    def download(self, name: str, file: Path) -> bool:
        """Write the content to `file`, which appears whole or not at all; False when there is none."""

    def delete(self, name: str) -> None:
        """Forget a content, if it is there."""

    def discard_unfinished(self, folder: str) -> None:
        """Free what writes into `folder` that were cut off take up."""

    def alone(self, folder: str, work: str) -> AbstractContextManager[None]:
        """Keep others out of `folder` where that can be had: wait while one `work`s ("is training r0008")."""


class FolderStore:
    """A folder, perhaps a mounted one."""

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

    def write(self, name: str, content: bytes) -> None:
        with atomic_file(self.root / name) as beside:
            beside.write_bytes(content)

    def upload(self, name: str, file: Path) -> None:
        with atomic_file(self.root / name) as beside:
            shutil.copyfile(file, beside)

    def download(self, name: str, file: Path) -> bool:
        if not (self.root / name).is_file():
            return False
        with atomic_file(file) as beside:
            shutil.copyfile(self.root / name, beside)
        return True

    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def discard_unfinished(self, folder: str) -> None:
        for cut_off in (self.root / folder).glob(".*.partial"):
            cut_off.unlink()

    def alone(self, folder: str, work: str) -> AbstractContextManager[None]:
        with disk_errors(self.root / folder):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        return alone(self.root / folder / "lock", work)
