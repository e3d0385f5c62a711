"""The JSON files that one stage writes and others read, as typed values."""

from pathlib import Path
from typing import Any, TypeVar

from progan.errors import InputError
from progan.files import read_json, write_json
from progan.validation import from_json, to_json

T = TypeVar("T")


def read(kind: type[T], path: Path, stage: str) -> T:
    """The value of the dataclass `kind` in `path`, which the stage `stage` of dvc.yaml wrote.

    Raises InputError when the file is missing, damaged, edited, or of an older version.
    """
    try:
        return from_json(kind, read_json(path))
    except ValueError as error:
        raise InputError(
            f"{path}: {error}; the file was edited, or an older version wrote it: "
            f"run dvc repro -fs {stage}, then this again"
        ) from None


def write(value: Any, path: Path) -> None:
    """Write a dataclass's value, atomically."""
    write_json(path, to_json(value))
