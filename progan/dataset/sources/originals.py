"""The files of a data set as its authors publish them: located, checked, and copied for a reader."""

import gzip
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from progan.dataset.sources.archives import Files, open_files, unreadable
from progan.dataset.sources.labels import locate
from progan.dataset.sources.photo import MAX_FILE_BYTES
from progan.errors import InputError


@dataclass(frozen=True)
class Published:
    """The URL of a file, or of the archive that contains it, and the file's MD5 if that is published."""

    url: str
    md5: str | None = None


@dataclass(frozen=True)
class Originals:
    """The user's copies of published files, by the path that a reader expects."""

    published: Mapping[str, Published]
    root: Path  # of `files`, for messages
    files: Files
    names: Mapping[str, str]  # the expected path → the name in `files`

    @classmethod
    def find(cls, path: Path, scratch: Path, published: Mapping[str, Published]) -> "Originals":
        """Locate every file below `path`, unpacked or gzipped, or in their archive there.

        `path` may also be the archive or one of the files. Raises InputError if one is missing.
        """
        if path.is_file() and path.name.removesuffix(".gz") in published:
            path = path.parent
        files = open_files(path, scratch)
        archive = locate(files, PurePosixPath(next(iter(published.values())).url).name)
        if archive and path.is_dir() and not any(locate(files, wanted) for wanted in published):
            path /= archive
            files = open_files(path, scratch)
        names = {}
        for wanted, origin in published.items():
            name = locate(files, wanted)
            if name is None:
                raise InputError(f"{path}: no {wanted} in it; fetch {origin.url}, or check dataset.path")
            names[wanted] = name
        return cls(published, path, files, names)

    def md5(self) -> dict[str, str]:
        """The MD5 of every file; InputError if it is not the published one."""
        digests = {}
        for wanted, origin in self.published.items():
            digests[wanted] = hashlib.md5(self.read(wanted), usedforsecurity=False).hexdigest()
            if origin.md5 not in (None, digests[wanted]):
                raise InputError(
                    f"{self.root / self.names[wanted]}: its MD5 is {digests[wanted]}, the published one "
                    f"{origin.md5}; fetch {origin.url} again"
                )
        return digests

    def lay_out(self, folder: Path) -> None:
        """Write all files below `folder`, at the paths that a reader expects."""
        for wanted in self.names:
            (folder / wanted).parent.mkdir(exist_ok=True)
            (folder / wanted).write_bytes(self.read(wanted))

    def read(self, wanted: str) -> bytes:
        """A file's content; InputError if it is larger than MAX_FILE_BYTES or damaged."""
        name, data = self.names[wanted], b""
        if self.files.sizes[name] <= MAX_FILE_BYTES:
            with unreadable(self.root / name):
                data = self.files.read(name)
                if name.endswith(".gz"):
                    data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(MAX_FILE_BYTES + 1)
        if max(self.files.sizes[name], len(data)) > MAX_FILE_BYTES:
            raise InputError(
                f"{self.root / name}: larger than {MAX_FILE_BYTES >> 30} GiB; "
                f"fetch {self.published[wanted].url} again"
            )
        return data
