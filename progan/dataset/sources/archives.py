"""A common interface to the regular files in a folder, a zip or a tar, with random access.

Nothing is ever unpacked by name, so members such as `../../etc/passwd` cannot write anywhere. A compressed
tar has no random access: it is decompressed once, as a whole, into a plain tar.
"""

import contextlib
import errno
import functools
import gzip
import lzma
import os
import posixpath
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar

from progan.errors import InputError
from progan.files import atomic_file, digest_of


def _open_zstd(path: Path) -> Any:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=2**31)
    return decompressor.stream_reader(path.open("rb"), read_across_frames=True, closefd=True)


DECOMPRESSORS: dict[str, Callable[[Path], Any]] = {
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.xz": lzma.open,
    ".txz": lzma.open,
    ".tar.zst": _open_zstd,
    ".tzst": _open_zstd,
}
SUFFIXES = (".zip", ".tar", *DECOMPRESSORS)
MAX_LINK_BYTES = 2**12
Member = TypeVar("Member")  # where a file is in its archive
# The exceptions of `Files.read`.
READ_ERRORS = (
    *(OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile),
    *(RuntimeError, UnicodeError),  # of zipfile: encrypted or of an unknown method; a name that is no text
)


class Files(Protocol):
    """The files in a folder or an archive, by their path inside it ("train/dress/1.jpg")."""

    @property
    def name(self) -> str:
        """The name of the folder, or of the archive without its suffix."""

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each file in bytes."""

    @property
    def identity(self) -> str:
        """A digest of names, sizes and modification times (in a zip: checksums)."""

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises one of READ_ERRORS."""


def open_files(path: Path, scratch: Path) -> Files:
    """List the folder, .zip or .tar (.gz, .xz, .zst) at `path`; decompress below `scratch` if necessary.

    Raises InputError if it is missing, of another kind, damaged or encrypted.
    """
    suffix = required_suffix(path)
    with unreadable(path):
        if path.is_dir():
            return _list_folder(path)
        if suffix == ".zip":
            return _list_zip(path)
        return _list_tar(path, _decompress(path, suffix, scratch) if suffix in DECOMPRESSORS else path)


def required_suffix(path: Path) -> str | None:
    """The suffix of the archive at `path`, None for a folder. Raises InputError if it is neither."""
    if not path.exists():
        raise InputError(f"{path}: no such folder or archive; check dataset.path")
    suffix = _archive_suffix(path)
    if suffix is None and not path.is_dir():
        raise InputError(f"{path}: neither a folder nor an archive; use one of {', '.join(SUFFIXES)}")
    return suffix


@dataclass(frozen=True)
class FolderFiles:
    """Files below `root`. Links are followed; `read` fails for broken ones."""

    name: str
    root: Path
    sizes: dict[str, int]
    identity: str

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()


@dataclass(frozen=True)
class ZipFiles:
    """Members of a zip. `members`: the normalised name → the name in the archive."""

    name: str
    path: Path
    members: dict[str, str]
    sizes: dict[str, int]
    identity: str

    def read(self, name: str) -> bytes:
        return _zip_in_this_process(self.path).read(_member(self.members, name))


@dataclass(frozen=True)
class StoredFiles:
    """Files stored in a single one, such as a tar. `offsets`: the normalised name → its first byte."""

    name: str
    path: Path
    offsets: dict[str, int]
    sizes: dict[str, int]
    identity: str

    def read(self, name: str) -> bytes:
        with self.path.open("rb") as file:
            file.seek(_member(self.offsets, name))
            return file.read(self.sizes[name])


def _member(members: dict[str, Member], name: str) -> Member:
    if name not in members:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return members[name]


@functools.cache
def _zip_in_this_process(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _list_folder(root: Path) -> FolderFiles:
    sizes: dict[str, int] = {}
    stamps = []
    for file in _files_below(root, above=()):
        inside = file.relative_to(root).as_posix()
        status = file.stat() if file.exists() else file.lstat()
        sizes[inside] = status.st_size
        stamps.append((ascii(inside), status.st_size, status.st_mtime_ns))
    return FolderFiles(root.resolve().name, root, sizes, digest_of(sorted(stamps)))


def _files_below(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """Yield the files below `folder`, through links too unless they lead to one of the folders `above`."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files_below(path, (*above, here))
        elif path.is_file() or path.is_symlink():
            yield path


def _list_zip(path: Path) -> ZipFiles:
    members: dict[str, str] = {}
    links: dict[str, str] = {}
    sizes: dict[str, int] = {}
    stamps = []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            if info.flag_bits & 0x1:
                raise InputError(f"{path}: {info.filename} is encrypted; unpack it and give the folder")
            name = _normalise(info.filename.replace("\\", "/"))
            _refuse_duplicate(path, name, sizes)
            members[name], sizes[name] = info.filename, info.file_size
            stamps.append((ascii(name), info.file_size, info.CRC))
            if stat.S_ISLNK(info.external_attr >> 16) and info.file_size < MAX_LINK_BYTES:
                links[name] = _target(name, archive.read(info).decode(errors="surrogateescape"))
    _follow(links, members, sizes)
    return ZipFiles(_bare_name(path), path, members, sizes, digest_of(stamps))


def _list_tar(path: Path, plain: Path) -> StoredFiles:
    offsets: dict[str, int] = {}
    links: dict[str, str] = {}
    sizes: dict[str, int] = {}
    stamps = []
    with tarfile.open(plain, "r:") as archive:
        for member in archive:
            if member.isdir():
                continue
            name = _normalise(member.name)
            _refuse_duplicate(path, name, sizes)
            sizes[name] = member.size
            if member.isreg() and not member.issparse():
                offsets[name] = member.offset_data
            elif member.islnk():
                links[name] = _normalise(member.linkname)
            elif member.issym():
                links[name] = _target(name, member.linkname)
            stamps.append((ascii(name), member.size, member.offset_data, member.mtime))
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header otherwise
        _require_end(plain, archive.offset)
    _follow(links, offsets, sizes)
    return StoredFiles(_bare_name(path), plain, offsets, sizes, digest_of([path.stat().st_mtime_ns, stamps]))


def _require_end(plain: Path, offset: int) -> None:
    """Raise TarError unless the members end at `offset` with the block of zeros that ends a tar.

    tarfile takes a damaged header, and a file that is cut off before one, for the end.
    """
    with plain.open("rb") as file:
        file.seek(offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"cut off, or a damaged header, at byte {offset}")


def _target(link: str, text: str) -> str:
    """The path inside the archive that a symbolic link leads to."""
    return _normalise(posixpath.join(posixpath.dirname(link), text))


def _follow(links: dict[str, str], members: dict[str, Member], sizes: dict[str, int]) -> None:
    """Add the files that links lead to, directly or in a folder, under the names that lead there.

    links: the path that each leads to. One that leads nowhere, or to a folder around it, has a size and is
    no member.
    """
    for link in links:
        members.pop(link, None)
    files = list(members)
    for link in links:
        target = link
        for _ in links:  # a chain is no longer, unless it is a circle
            ways = [way for way in (target, *map(str, PurePosixPath(target).parents)) if way in links]
            if not ways:
                break
            target = links[ways[0]] + target[len(ways[0]) :]
        inside = [] if target in members else [name for name in files if name.startswith(f"{target}/")]
        if target in members:
            members[link], sizes[link] = members[target], sizes[target]
        elif inside and not link.startswith(f"{target}/"):
            del sizes[link]
            for name in inside:
                alias = link + name[len(target) :]
                members[alias], sizes[alias] = members[name], sizes[name]


def _decompress(path: Path, suffix: str, scratch: Path) -> Path:
    """Decompress `path` to a plain tar in `scratch`, unless an earlier run did; return the plain tar."""
    status = path.stat()
    plain = scratch / f"{digest_of([str(path), status.st_size, status.st_mtime_ns])[:16]}.tar"
    if not plain.exists():
        with atomic_file(plain) as partial, DECOMPRESSORS[suffix](path) as packed, partial.open("wb") as file:
            shutil.copyfileobj(packed, file, 2**20)
    return plain


def _archive_suffix(path: Path) -> str | None:
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)


def _bare_name(path: Path) -> str:
    return path.name[: -len(_archive_suffix(path) or "")]


def _refuse_duplicate(path: Path, name: str, members: Collection[str]) -> None:
    if name in members:
        raise InputError(f"{path}: holds {name} twice; pack it again")


def _normalise(name: str) -> str:
    """Normalise a name: `./a/b`, `/a/b` and `../a/b` all become "a/b"."""
    return posixpath.normpath("/" + name).lstrip("/")


@contextlib.contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Turn the errors of reading a damaged or unreadable file into an InputError about `path`."""
    damage: list[type[Exception]] = [
        tarfile.TarError,
        zipfile.BadZipFile,
        gzip.BadGzipFile,
        EOFError,
        lzma.LZMAError,
        zlib.error,
        NotImplementedError,
        UnicodeError,
    ]
    with contextlib.suppress(ImportError):
        import zstandard

        damage.append(zstandard.ZstdError)
    try:
        yield
    except tuple(damage) as error:
        raise InputError(f"{path}: damaged or not what its suffix says ({error}); fetch it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
