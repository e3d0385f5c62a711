"""Source `folder`: photographs of any size in a folder, a zip or a tar; the folders are classes."""

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from progan.config import DatasetConfig
from progan.dataset.sources.archives import READ_ERRORS, Files, open_files
from progan.dataset.sources.photo import MAX_FILE_BYTES, decode_photo, is_hidden, is_photo, suffixes
from progan.dataset.sources.source import Item, Picture, UnusableImage, refuse_attributes
from progan.errors import InputError


@dataclass(frozen=True)
class Folder:
    """Each photograph's largest centred square, resized (Lanczos) to the dataset's resolution.

    The class is the name of the file's parent folder, so train/dress/1.jpg and test/dress/2.jpg are both
    "dress". If all files are in the same folder, there are no labels.
    """

    resolution: int
    files: Files
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    passed_over: tuple[str, ...]  # files that are no photographs
    channels: int = 3

    @classmethod
    def open(cls, config: DatasetConfig, scratch: Path) -> "Folder":
        """List the photographs. Raises InputError if there are none."""
        return cls.of(config, open_files(Path(config.path), scratch))

    @classmethod
    def of(cls, config: DatasetConfig, files: Files) -> "Folder":
        """The photographs among `files`. Raises InputError if there are none."""
        refuse_attributes(config)
        names = sorted(filter(is_photo, files.sizes))
        if not names:
            raise InputError(
                f"{config.path}: no photographs ({' '.join(sorted(suffixes()))}) in it; check dataset.path"
            )
        classes = class_names(names, files.name)
        labels = {name: label for label, name in enumerate(classes)}
        items = (Item(name, labels.get(class_name(name, files.name))) for name in names)
        others = (name for name in files.sizes if not is_photo(name) and not is_hidden(name))
        return cls(config.resolution, files, classes, tuple(items), tuple(sorted(others)))

    @property
    def identity(self) -> str:
        return self.files.identity

    def load(self, item: Item) -> Picture:
        return square(decode_photo(read_photo(self.files, item.name)), self.resolution)


def parent_name(name: str, root_name: str) -> str:
    """The name of the file's parent folder; `root_name` for a file at the top."""
    return PurePosixPath(name).parent.name or root_name


def class_name(name: str, root_name: str) -> str:
    """The name of the file's parent folder, composed (NFC), with bytes that are not Unicode as \\xNN."""
    folder = parent_name(name, root_name).encode(errors="surrogateescape")
    return unicodedata.normalize("NFC", folder.decode(errors="backslashreplace"))


def class_names(names: Collection[str], root_name: str) -> tuple[str, ...]:
    """The sorted classes of the files; empty if all files are in the same folder."""
    if len({PurePosixPath(name).parent for name in names}) == 1:
        return ()
    return tuple(sorted({class_name(name, root_name) for name in names}))


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
