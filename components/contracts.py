"""The JSON files that one stage writes and others read, as typed values."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from progan.errors import InputError
from progan.files import read_json, write_json

T = TypeVar("T")


def read(kind: type[T], path: Path, stage: str) -> T:
    """The value of the dataclass `kind` in `path`, which the stage `stage` of dvc.yaml wrote.

    Raises InputError when the file is missing, damaged, edited, or of an older version.
    """
    from pydantic import TypeAdapter, ValidationError

    value = read_json(path)
    try:
        return TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(
            f"{path}: {key}: {first['msg'].lower()}; the file was edited, or an older version wrote it: "
            f"run dvc repro -fs {stage}, then this again"
        ) from None


def write(value: Any, path: Path) -> None:
    """Write a dataclass's value, atomically."""
    write_json(path, asdict(value))
