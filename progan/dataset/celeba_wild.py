"""Source `celeba-wild`: faces in CelebA's in-the-wild layout, aligned by their landmarks.

Wanted below `dataset.path`, at any depth: a folder img_celeba/ with the photographs,
list_landmarks_celeba.txt, and list_attr_celeba.txt when attributes serve as labels.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from progan.config import DatasetConfig
from progan.dataset.align import align_face
from progan.dataset.archives import Files, open_files
from progan.dataset.folder import read_photo
from progan.dataset.photo import decode_photo, is_photo
from progan.dataset.source import Item, Picture
from progan.errors import InputError
from progan.files import digest_of

IMAGES, LANDMARKS, ATTRIBUTES = "img_celeba", "list_landmarks_celeba.txt", "list_attr_celeba.txt"
MAX_ATTRIBUTES = 10


@dataclass(frozen=True)
class Table:
    """A CelebA list: a line with the row count, one with the column names, then `name value value …`."""

    path: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[int, ...]]

    def row(self, name: str) -> tuple[int, ...]:
        if name not in self.rows:
            raise InputError(
                f"{self.path}: no row for {name}; fetch the complete list, or take the image away"
            )
        return self.rows[name]


@dataclass(frozen=True)
class CelebaWild:
    """Faces aligned as CelebA-HQ's, without its deltas. Every combination of the attributes is a class."""

    resolution: int
    files: Files
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    landmarks: dict[str, tuple[int, ...]]  # by item name: x and y of five points
    identity: str
    channels: int = 3

    @classmethod
    def open(cls, config: DatasetConfig, scratch: Path) -> "CelebaWild":
        """List the photographs and their rows. Raises InputError: which file or row is missing or wrong."""
        files = open_files(Path(config.path), scratch)
        photos = {PurePosixPath(name).name: name for name in files.sizes if _is_face(name)}
        if not photos:
            raise InputError(f"{config.path}: no photographs in a folder {IMAGES}; check dataset.path")
        landmarks = _read_table(config, files, LANDMARKS, width=10)
        points = {name: landmarks.row(short) for short, name in photos.items()}
        classes, labels = _attribute_classes(config, files, photos)
        items = tuple(Item(name, labels.get(name)) for name in sorted(photos.values()))
        identity = digest_of([files.identity, sorted(points.items()), sorted(labels.items())])
        return cls(config.resolution, files, classes, items, points, identity)

    def load(self, item: Item) -> Picture:
        photo = decode_photo(read_photo(self.files, item.name), upright=False)
        return align_face(photo, np.reshape(self.landmarks[item.name], (5, 2)), self.resolution)


def combination_names(attributes: tuple[str, ...]) -> tuple[str, ...]:
    """The class of each label; bit i of the label says whether attribute i is set."""
    return tuple(
        "+".join(name for bit, name in enumerate(attributes) if label >> bit & 1) or "none"
        for label in range(2 ** len(attributes))
    )


def _is_face(name: str) -> bool:
    return is_photo(name) and PurePosixPath(name).parent.name == IMAGES


def _attribute_classes(
    config: DatasetConfig, files: Files, photos: dict[str, str]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Class names, and labels by item name; both empty without label_attributes."""
    wanted = config.label_attributes
    if not wanted:
        return (), {}
    if len(wanted) > MAX_ATTRIBUTES or len(set(wanted)) < len(wanted):
        raise InputError(f"dataset.label_attributes: at most {MAX_ATTRIBUTES} attributes, each once")
    table = _read_table(config, files, ATTRIBUTES, width=None)
    for name in wanted:
        if name not in table.columns:
            near = difflib.get_close_matches(name, table.columns, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(table.columns)}"
            raise InputError(f"dataset.label_attributes: {name}: not in {table.path}; {hint}")
    columns = [table.columns.index(name) for name in wanted]
    labels = {}
    for short, name in photos.items():
        row = table.row(short)
        labels[name] = sum((row[column] == 1) << bit for bit, column in enumerate(columns))
    return combination_names(wanted), labels


def _read_table(config: DatasetConfig, files: Files, file_name: str, width: int | None) -> Table:
    """Read a list of whole numbers; `width`: values a row, None for as many as there are columns."""
    found = sorted(name for name in files.sizes if PurePosixPath(name).name == file_name)
    where = f"{config.path}/{found[0] if found else file_name}"
    if not found:
        raise InputError(f"{where}: no such file; it comes with CelebA's annotations")
    lines = files.read(found[0]).decode(errors="replace").splitlines()
    if len(lines) < 2:
        raise InputError(f"{where}: a count, a line of column names and rows are expected; fetch it again")
    columns = tuple(lines[1].split())
    rows: dict[str, tuple[int, ...]] = {}
    for number, line in enumerate(lines[2:], start=3):
        name, *values = line.split() or [""]
        if not name:
            continue
        try:
            rows[name] = tuple(map(int, values))
        except ValueError:
            raise InputError(f"{where}: line {number}: whole numbers are expected; fetch it again") from None
        if len(values) != (width or len(columns)):
            raise InputError(
                f"{where}: line {number}: {len(values)} values, not {width or len(columns)}; fetch it again"
            )
    return Table(where, columns, rows)
