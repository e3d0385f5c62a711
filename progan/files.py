"""Outputs appear whole or not at all; digests say what they are."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from progan.errors import InputError

NOT_TO_BE_WRITTEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)


def canonical_json(value: Any) -> str:
    """The one spelling of `value` as JSON: sorted keys, no spaces, no NaN (ValueError)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, *needed: str) -> Any:
    """The JSON in `path`, an object with the keys `needed` if there are any; an InputError when it is not."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file; run the stage that makes it (dvc repro)") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check what it is and who may read it"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); delete it and run its stage again") from None
    if needed and not (isinstance(value, dict) and value.keys() >= set(needed)):
        raise InputError(f"{path}: not as this version writes it; delete it and run its stage again")
    return value


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_file(path) as beside:
        beside.write_text(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success flush it to disk and rename it into place."""
    beside = _beside(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            _flush(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success flush its files and let it take `path`'s place."""
    beside = _beside(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.mkdir()
        try:
            yield beside
            for file in beside.rglob("*"):
                if file.is_file():
                    _flush(file)
            replace_folder(beside, path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def replace_folder(new: Path, path: Path) -> None:
    """Rename the folder `new` to `path`, removing what stood there."""
    if path.exists():
        shutil.rmtree(path)
    new.replace(path)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, or a place where nothing can be written, into one clear line about `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{path}: no space left on the disk; free some and run again") from error
        if error.errno in NOT_TO_BE_WRITTEN:
            raise InputError(
                f"{path}: cannot write here ({error.strerror}); name another place, or check its permissions"
            ) from error
        raise


@contextlib.contextmanager
def alone(lock: Path, work: str) -> Iterator[None]:
    """Hold `lock`; wait while another process has it, such as one that lost its parent and goes on."""
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


def _beside(path: Path) -> Path:
    """A name of this process's own in the same folder; .gitignore and .dvcignore know it."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _flush(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
