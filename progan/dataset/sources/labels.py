"""Classes of images, and labels of photographs from a list: StyleGAN's dataset.json, or a CSV file."""

import csv
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from progan.config import DatasetConfig
from progan.dataset.sources.archives import Files, unreadable
from progan.errors import InputError
from progan.files import parse_json

FILE_COLUMNS = ("file", "file_name", "filename")  # of a CSV file; Hugging Face and Keras have the others


@dataclass(frozen=True)
class Classes:
    """The classes of a source, and the label of each image by its name; both empty without labels."""

    names: tuple[str, ...] = ()
    labels: dict[str, int] | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Classes":
        """The distinct values, numbers or texts, in their order; no classes if there is only one."""
        distinct = sorted(set(values.values()))
        order = {value: label for label, value in enumerate(distinct)}
        if len(order) < 2:
            return cls()
        return cls(tuple(map(str, distinct)), {name: order[value] for name, value in values.items()})

    def label(self, name: str) -> int | None:
        return None if self.labels is None else self.labels[name]


def composed(text: str) -> str:
    """`text` as keyboards write it (NFC); in files, accents may be characters of their own."""
    return unicodedata.normalize("NFC", text)


def locate(files: Files, wanted: str) -> str | None:
    """The topmost file whose path ends in `wanted` ("folder/file" or "file") or `wanted`.gz, if any."""
    ends = (f"/{wanted}", f"/{wanted}.gz")
    names = (name for name in files.sizes if f"/{files.name}/{name}".endswith(ends))
    return min(names, key=lambda name: (name.count("/"), name), default=None)


def refuse_list(config: DatasetConfig) -> None:
    """Raise InputError if a list is to give the labels, for images that are no files of their own."""
    if config.labels not in ("source", "none"):
        raise InputError(
            f"dataset.labels: {config.labels} is for photographs in files, which {config.path} are not; "
            "use source or none"
        )


def listed_classes(config: DatasetConfig, files: Files, photos: list[str]) -> Classes:
    """The classes of the photographs by the list dataset.labels, whose paths begin at its own folder.

    Raises InputError if the list is missing or damaged, or lacks a photograph.
    """
    name = locate(files, config.labels)
    if name is None:
        raise InputError(
            f"dataset.labels: no {config.labels} in {config.path}; name a file there, source or none"
        )
    where, folder = Path(config.path, name), PurePosixPath(name).parent
    with unreadable(where):
        data = files.read(name)
    rows = (_rows_of_json if name.lower().endswith(".json") else _rows_of_csv)(data, where)
    labels = {composed(str(folder / file)): label for file, label in rows.items()}
    missing = [photo for photo in photos if composed(photo) not in labels]
    if missing:
        more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise InputError(f"{where}: no label for {missing[0]}{more}; add what is missing")
    return Classes.of({photo: labels[composed(photo)] for photo in photos})


def _rows_of_json(data: bytes, where: Path) -> dict[str, int]:
    """StyleGAN's {"labels": [[file, label], …]}."""
    try:
        rows = parse_json(data)["labels"]
        labels = dict(rows)
    except (ValueError, LookupError, TypeError):
        labels = {}
    if not labels or any((type(file), type(label)) != (str, int) for file, label in labels.items()):
        raise InputError(f'{where}: {{"labels": [["file", number], …]}} is expected, as StyleGAN has it')
    return labels


def _rows_of_csv(data: bytes, where: Path) -> dict[str, str]:
    """A CSV file with a header, a column of files and a column `label`."""
    try:
        table = csv.DictReader(data.decode("utf-8-sig").splitlines(), strict=True)
        column = next(name for name in FILE_COLUMNS if name in (table.fieldnames or ()))
        return {row[column]: composed(row["label"]) for row in table}
    except (UnicodeDecodeError, StopIteration, KeyError, TypeError, csv.Error):
        raise InputError(
            f"{where}: a CSV file in UTF-8 with the columns {FILE_COLUMNS[0]} and label is expected"
        ) from None
