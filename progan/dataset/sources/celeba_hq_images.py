"""Source `celeba-hq-images`: CelebA-HQ as finished images, in the forms in which others distribute it.

Below `dataset.path` is one of: CelebAMask-HQ, with its photographs in CelebA-HQ-img/; a Hugging Face
data set; photographs, whose folders are classes.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from progan.config import DatasetConfig
from progan.dataset.sources.archives import Files, open_files
from progan.dataset.sources.celeba_lists import attribute_classes, photos_by_short_name
from progan.dataset.sources.folder import Folder, parent_name, read_photo, square
from progan.dataset.sources.labels import refuse_list
from progan.dataset.sources.parquet import is_table
from progan.dataset.sources.photo import decode_photo, is_photo
from progan.dataset.sources.source import Item, Picture
from progan.errors import InputError

# CelebAMask-HQ
IMAGES, MASKS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
ATTRIBUTES = "CelebAMask-HQ-attribute-anno.txt"


@dataclass(frozen=True)
class CelebaHqImages:
    """Squares of 2^n px stay as they are, so that their levels are CelebA-HQ's; others as in `Folder`."""

    resolution: int
    files: Files
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    passed_over: tuple[str, ...] = ()
    channels: int = 3

    @classmethod
    def open(cls, config: DatasetConfig, scratch: Path) -> "CelebaHqImages":
        """List the images. Raises InputError if a file, row or column is missing or wrong."""
        files = open_files(Path(config.path), scratch)
        if is_mask_hq(files):
            return cls._of_mask_hq(config, files)
        if config.label_attributes:
            raise InputError(f"{config.path}: only {IMAGES}/ comes with attributes; use label_attributes: []")
        if any(map(is_table, files.sizes)):
            folder = Folder.of_tables(config, files, scratch)
        else:
            folder = Folder.of(config, files)
        return cls(config.resolution, folder.files, folder.classes, folder.items, folder.passed_over)

    @classmethod
    def _of_mask_hq(cls, config: DatasetConfig, files: Files) -> "CelebaHqImages":
        refuse_list(config)
        names = (name for name in files.sizes if is_photo(name) and parent_name(name, files.name) == IMAGES)
        photos = photos_by_short_name(config, sorted(names, key=by_number))
        if not photos:
            raise InputError(f"{config.path}: no photographs in a folder {IMAGES}; check dataset.path")
        classes = attribute_classes(config, files, photos, ATTRIBUTES)
        items = tuple(Item(name, classes.label(short)) for short, name in photos.items())
        return cls(config.resolution, files, classes.names, items)

    @property
    def identity(self) -> str:
        return self.files.identity

    def load(self, item: Item) -> Picture:
        photo = decode_photo(read_photo(self.files, item.name))
        side = photo.width
        if photo.size == (side, side) and side >= self.resolution and side & (side - 1) == 0:
            return Picture(np.asarray(photo))
        return square(photo, self.resolution)


def is_mask_hq(files: Files) -> bool:
    """Whether this is CelebAMask-HQ, or only its photographs or its masks."""
    return any({IMAGES, MASKS} & {files.name, *name.split("/")} for name in files.sizes)


def by_number(name: str) -> tuple[float, str]:
    """A sort key that puts 2.jpg before 10.jpg, and names that are not numbers last."""
    stem = PurePosixPath(name).stem
    return (int(stem) if stem.isdecimal() else float("inf"), name)
