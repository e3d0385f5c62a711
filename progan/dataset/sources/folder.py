"""Source `folder`: photographs of any size, or tables of them, in a folder, a zip or a tar."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from progan.config import DatasetConfig
from progan.dataset.sources.archives import READ_ERRORS, Files, open_files
from progan.dataset.sources.labels import Classes, composed, listed_classes, locate, refuse_list
from progan.dataset.sources.parquet import is_table, open_tables
from progan.dataset.sources.photo import MAX_FILE_BYTES, decode_photo, is_hidden, is_photo, suffixes
from progan.dataset.sources.source import Item, Picture, UnusableImage, printable, refuse_attributes
from progan.errors import InputError


@dataclass(frozen=True)
class Folder:
    """Each photograph's largest centred square, resized (Lanczos) to the dataset's resolution.

    Unless a list gives the labels, the class is the name of the file's parent folder, so train/dress/1.jpg
    and test/dress/2.jpg are both "dress". If all files are in the same folder, there are no labels.
    """

    resolution: int
    files: Files
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    passed_over: tuple[str, ...] = ()  # files that are no photographs
    channels: int = 3

    @classmethod
    def open(cls, config: DatasetConfig, scratch: Path) -> "Folder":
        """List the photographs, or the images in tables. Raises InputError if there are none."""
        files = open_files(Path(config.path), scratch)
        if any(map(is_table, files.sizes)) and not any(map(is_photo, files.sizes)):
            return cls.of_tables(config, files, scratch)
        return cls.of(config, files)

    @classmethod
    def of_tables(cls, config: DatasetConfig, files: Files, scratch: Path) -> "Folder":
        """The images in the tables among `files`. Raises InputError as `open_tables`."""
        refuse_attributes(config)
        refuse_list(config)
        images, classes = open_tables(config, files, scratch)
        items = tuple(Item(name, classes.label(name)) for name in images.sizes)
        return cls(config.resolution, images, tuple(map(printable, classes.names)), items)

    @classmethod
    def of(cls, config: DatasetConfig, files: Files) -> "Folder":
        """The photographs among `files`. Raises InputError if there are none."""
        refuse_attributes(config)
        names = sorted(filter(is_photo, files.sizes))
        if not names:
            raise InputError(
                f"{config.path}: no photographs ({' '.join(sorted(suffixes()))}) in it; check dataset.path"
            )
        if config.labels in ("source", "none"):
            classes = folder_classes(names, files.name)
        else:
            classes = listed_classes(config, files, names)
        items = tuple(Item(name, classes.label(name)) for name in names)
        list_name = locate(files, config.labels)
        others = {name for name in files.sizes if not is_photo(name) and not is_hidden(name)} - {list_name}
        return cls(config.resolution, files, classes.names, items, tuple(sorted(others)))

    @property
    def identity(self) -> str:
        return self.files.identity

    def load(self, item: Item) -> Picture:
        return square(decode_photo(read_photo(self.files, item.name)), self.resolution)


def parent_name(name: str, root_name: str) -> str:
    """The name of the file's parent folder; `root_name` for a file at the top."""
    return PurePosixPath(name).parent.name or root_name


def folder_classes(names: Collection[str], root_name: str) -> Classes:
    """The parent folder of each file as its class; none if all files are in the same folder."""
    if len({PurePosixPath(name).parent for name in names}) == 1:
        return Classes()
    return Classes.of({name: class_name(parent_name(name, root_name)) for name in names})


def class_name(folder: str) -> str:
    """The class that a folder is: its name, composed, with bytes that are not Unicode as \\xNN."""
    return composed(folder.encode(errors="surrogateescape").decode(errors="backslashreplace"))


def read_photo(files: Files, name: str) -> bytes:
    """A file's bytes; UnusableImage if they cannot be read."""
    if files.sizes[name] > MAX_FILE_BYTES:
        raise UnusableImage(f"the file is larger than {MAX_FILE_BYTES >> 30} GiB")
    try:
        return files.read(name)
    except READ_ERRORS as error:
        why = error.strerror if isinstance(error, OSError) else None  # without the path
        raise UnusableImage(f"unreadable: {why or error}") from None


def square(photo: Image.Image, resolution: int) -> Picture:
    """The largest centred square, resized to uint8 [R,R,3]; an odd pixel is cut on the right or bottom."""
    width, height = photo.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    crop = photo.crop((left, top, left + side, top + side))
    pixels = np.asarray(crop.resize((resolution, resolution), Image.Resampling.LANCZOS))
    return Picture(pixels, enlarged=side < resolution)
