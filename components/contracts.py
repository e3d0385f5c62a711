"""The JSON files that one stage writes and others read, as typed values."""

from pathlib import Path
from typing import ClassVar, Self

from progan.errors import InputError
from progan.files import read_json, write_json
from progan.validation import from_sealed_json, sealed, to_json


class Contract:
    """Base of a dataclass with such a file."""

    written_by: ClassVar[str]  # the task of dvc.yaml; {} stands for the name of the file

    @classmethod
    def read(cls, path: Path) -> Self:
        """The value in `path`.

        Raises InputError when the file is missing, damaged, edited, or of an older version.
        """
        try:
            return from_sealed_json(cls, read_json(path))
        except ValueError as error:
            raise InputError(
                f"{path}: {error}; the file was edited, or an older version wrote it: "
                f"run dvc repro -fs {cls.written_by.format(path.stem)}, then this again"
            ) from None

    def write(self, path: Path) -> None:
        write_json(path, sealed(to_json(self)))
