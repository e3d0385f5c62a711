"""Source `celeba`: CelebA's aligned faces, 178×218 px, which the authors crop to 128×128.

Required below `dataset.path`, at any depth: a folder img_align_celeba_png/ or img_align_celeba/ with the
photographs, and list_attr_celeba.txt when attributes serve as labels.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from progan.config import DatasetConfig
from progan.dataset.sources.archives import Files, open_files
from progan.dataset.sources.celeba_lists import attribute_classes, photos_by_short_name
from progan.dataset.sources.folder import read_photo
from progan.dataset.sources.photo import decode_photo, is_photo
from progan.dataset.sources.source import Item, Picture, UnusableImage, require_at_most
from progan.errors import InputError
from progan.files import digest_of

FOLDERS = ("img_align_celeba_png", "img_align_celeba")  # the authors used the PNGs
WIDTH, HEIGHT = 178, 218  # pixels
CENTRE_X, CENTRE_Y, SIDE = 89, 121, 128  # of the crop


@dataclass(frozen=True)
class Celeba:
    """The centre of each aligned face. Every combination of the attributes is a class."""

    files: Files
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    identity: str
    channels: int = 3

    @classmethod
    def open(cls, config: DatasetConfig, scratch: Path) -> "Celeba":
        """List photographs and labels. Raises InputError if a file or a row is missing or wrong."""
        require_at_most(config, SIDE)
        files = open_files(Path(config.path), scratch)
        photos = photos_by_short_name(config, aligned_photos(files))
        if not photos:
            raise InputError(
                f"{config.path}: no photographs in a folder {' or '.join(FOLDERS)}; check dataset.path"
            )
        rows = {short: PurePosixPath(short).with_suffix(".jpg").name for short in photos}  # of PNGs too
        classes = attribute_classes(config, files, rows.values())
        items = tuple(Item(name, classes.label(rows[short])) for short, name in photos.items())
        return cls(files, classes.names, items, digest_of([files.identity, classes.labels]))

    def load(self, item: Item) -> Picture:
        photo = decode_photo(read_photo(self.files, item.name), upright=False)
        if photo.size != (WIDTH, HEIGHT):
            raise UnusableImage(f"{photo.width}×{photo.height} px, not {WIDTH}×{HEIGHT}: not aligned?")
        left, top = CENTRE_X - SIDE // 2, CENTRE_Y - SIDE // 2
        return Picture(np.asarray(photo.crop((left, top, left + SIDE, top + SIDE))))


def aligned_photos(files: Files) -> list[str]:
    """The sorted paths of the photographs in the first existing one of FOLDERS, which may be `files`."""
    photos = sorted(filter(is_photo, files.sizes))
    for folder in FOLDERS:
        if inside := [name for name in photos if (PurePosixPath(name).parent.name or files.name) == folder]:
            return inside
    return []
