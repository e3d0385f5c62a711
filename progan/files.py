"""Files and folders that appear whole or not at all, and digests of contents."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from progan.errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT)
UNWRITABLE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST),
    *(errno.EFBIG, errno.EIO, errno.ENAMETOOLONG),
)
RUST_ERROR = re.compile(r"\(os error (\d+)\)")  # as safetensors writes it
CUT_SHORT = re.compile(r"\d+ requested and \d+ written")  # by NumPy, which keeps the number to itself


def canonical_json(value: Any) -> str:
    """`value` as JSON in its one canonical form: sorted keys, no spaces; ValueError for NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of `value` as canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes. Raises InputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise read_failure(path, error) from None


def read_bytes(path: Path, when_missing: str) -> bytes:
    """The contents of `path`; an InputError that names it, with `when_missing` as what to do."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file; {when_missing}") from None
    except OSError as error:
        raise read_failure(path, error) from None


def read_failure(path: Path, error: OSError) -> InputError:
    """What to raise for a file that exists and cannot be read."""
    return InputError(f"{path}: cannot be read ({error.strerror}); check what it is and who may read it")


def parse_json(content: bytes | str) -> Any:
    """The value in `content`; a ValueError if it is not valid JSON, or nested too deeply."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path) -> Any:
    """The JSON in `path`. Raises InputError if it has none."""
    try:
        return parse_json(read_bytes(path, "run the stage that makes it (dvc repro)"))
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); delete it and run its stage again") from None


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; on success flush it and rename it to `path`."""
    partial = _partial_path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            _flush(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success flush its files and replace `path` by it."""
    partial = _partial_path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        try:
            yield partial
            for file in partial.rglob("*"):
                if file.is_file():
                    _flush(file)
            replace_folder(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def replace_folder(new: Path, path: Path) -> None:
    """Rename the folder `new` to `path`, deleting a folder that is already there."""
    if path.exists():
        shutil.rmtree(path)
    new.replace(path)


@contextlib.contextmanager
def disk_errors(path: Path | None = None) -> Iterator[None]:
    """Turn errors from a full disk or an unwritable path into an InputError about `path`.

    Without `path`, it is about the file that the error names, or the current folder.
    """
    try:
        yield
    except Exception as error:  # libraries have classes of their own
        number = _errno(error)
        where = path or getattr(error, "filename", None) or Path.cwd()
        if number in FULL:
            raise InputError(f"{where}: no space left on the disk; free some and run again") from error
        if number in UNWRITABLE:
            what = "cannot write here" if path else "cannot be read or written"
            raise InputError(
                f"{where}: {what} ({os.strerror(number)}); name another path, or check its permissions"
            ) from error
        raise


def _errno(error: Exception) -> int:
    """The number of the system's error behind `error`, in errno or in words; 0 if there is none."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if CUT_SHORT.fullmatch(str(error)):
        return errno.ENOSPC
    number = RUST_ERROR.search(str(error))
    return int(number[1]) if number else 0


@contextlib.contextmanager
def alone(lock: Path, work: str) -> Iterator[None]:
    """Hold `lock`; wait while another process holds it, such as one that outlived its parent."""
    from filelock import FileLock, Timeout

    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        print(f"another process {work}; waiting for it", file=sys.stderr, flush=True)
        held.acquire()
    try:
        yield
    finally:
        held.release()


def _partial_path(path: Path) -> Path:
    """A temporary path in the same folder, unique to this process; .gitignore and .dvcignore match it."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _flush(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
