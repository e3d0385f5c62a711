"""The text files that come with CelebA: landmarks and attributes, one row per image."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from progan.config import DatasetConfig
from progan.dataset.sources.archives import Files, unreadable
from progan.dataset.sources.labels import Classes
from progan.errors import InputError, hint

LANDMARKS, ATTRIBUTES = "list_landmarks_celeba.txt", "list_attr_celeba.txt"
MAX_ATTRIBUTES = 10


@dataclass(frozen=True)
class Table:
    """A CelebA list: a line with the row count, one with the column names, then `name value value …`."""

    path: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[int, ...]]

    def row(self, name: str) -> tuple[int, ...]:
        if name not in self.rows:
            raise InputError(f"{self.path}: no row for {name}; fetch the complete list, or remove the image")
        return self.rows[name]


def read_landmarks(config: DatasetConfig, files: Files) -> Table:
    """x and y of five points per image: eyes, nose, corners of the mouth."""
    return read_table(config, files, LANDMARKS, width=10)


def attribute_classes(
    config: DatasetConfig, files: Files, names: Iterable[str], file_name: str = ATTRIBUTES
) -> Classes:
    """Every combination of `config.label_attributes` as a class, for the images `names`.

    Raises InputError if an attribute, file or row is missing or wrong.
    """
    wanted = config.label_attributes
    if not wanted:
        return Classes()
    if len(wanted) > MAX_ATTRIBUTES or len(set(wanted)) < len(wanted):
        raise InputError(f"dataset.label_attributes: at most {MAX_ATTRIBUTES} attributes, each once")
    table = read_table(config, files, file_name, width=None)
    for name in wanted:
        if name not in table.columns:
            meant = hint(name, table.columns)
            raise InputError(f"dataset.label_attributes: {name}: not in {table.path}; {meant}")
    columns = [table.columns.index(name) for name in wanted]
    labels = {
        name: sum((table.row(name)[column] == 1) << bit for bit, column in enumerate(columns))
        for name in names
    }
    return Classes(combination_names(wanted), labels)


def combination_names(attributes: tuple[str, ...]) -> tuple[str, ...]:
    """The class of each label; bit i of the label says whether attribute i is set."""
    return tuple(
        "+".join(name for bit, name in enumerate(attributes) if label >> bit & 1) or "none"
        for label in range(2 ** len(attributes))
    )


def read_table(config: DatasetConfig, files: Files, file_name: str, width: int | None) -> Table:
    """Read a list of integers; `width`: the values per row, None for as many as there are column names."""
    where, lines = read_lines(config, files, file_name, "CelebA's annotations")
    if len(lines) < 2:
        raise InputError(f"{where}: a count, a line of column names and rows are expected; fetch it again")
    columns = tuple(lines[1].split())
    rows: dict[str, tuple[int, ...]] = {}
    for number, line in enumerate(lines[2:], start=3):
        if not line.strip():
            continue
        name, *values = line.split()
        if name in rows:
            raise InputError(f"{where}: line {number}: a second row for {name}; fetch it again")
        try:
            rows[name] = tuple(map(int, values))
        except ValueError:
            raise InputError(f"{where}: line {number}: whole numbers are expected; fetch it again") from None
        if len(values) != (width or len(columns)):
            raise InputError(
                f"{where}: line {number}: {len(values)} values, not {width or len(columns)}; fetch it again"
            )
    return Table(where, columns, rows)


def read_lines(config: DatasetConfig, files: Files, file_name: str, origin: str) -> tuple[str, list[str]]:
    """A list's path, for messages, and its lines. `origin`: what the file comes with, for the InputError."""
    paths = sorted(name for name in files.sizes if PurePosixPath(name).name == file_name)
    where = f"{config.path}/{paths[0] if paths else file_name}"
    if not paths:
        raise InputError(f"{where}: no such file; it comes with {origin}")
    with unreadable(Path(where)):
        return where, files.read(paths[0]).decode(errors="replace").splitlines()


def photos_by_short_name(config: DatasetConfig, names: Iterable[str]) -> dict[str, str]:
    """Paths by file name, which the lists refer to; InputError if two paths have the same file name."""
    photos: dict[str, str] = {}
    for name in names:
        short = PurePosixPath(name).name
        if short in photos:
            raise InputError(f"{config.path}: both {photos[short]} and {name}; remove one of them")
        photos[short] = name
    return photos
