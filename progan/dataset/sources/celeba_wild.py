"""Source `celeba-wild`: faces in CelebA's in-the-wild layout, aligned by their landmarks.

Required below `dataset.path`, at any depth: a folder img_celeba/ with the photographs,
list_landmarks_celeba.txt, and list_attr_celeba.txt when attributes serve as labels.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from progan.config import DatasetConfig
from progan.dataset.sources.align import align_face
from progan.dataset.sources.archives import Files, open_files
from progan.dataset.sources.celeba_lists import attribute_classes, photos_by_short_name, read_landmarks
from progan.dataset.sources.folder import read_photo
from progan.dataset.sources.photo import decode_photo, is_photo
from progan.dataset.sources.source import Item, Picture
from progan.errors import InputError
from progan.files import digest_of

IMAGES = "img_celeba"


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
        """List photographs, landmarks and labels. Raises InputError if a file or row is missing or wrong."""
        files = open_files(Path(config.path), scratch)
        photos = photos_by_short_name(config, sorted(filter(is_in_the_wild, files.sizes)))
        if not photos:
            raise InputError(f"{config.path}: no photographs in a folder {IMAGES}; check dataset.path")
        table = read_landmarks(config, files)
        landmarks = {name: table.row(short) for short, name in photos.items()}
        classes = attribute_classes(config, files, photos)
        items = tuple(Item(name, classes.label(short)) for short, name in photos.items())
        identity = digest_of([files.identity, sorted(landmarks.items()), classes.labels])
        return cls(config.resolution, files, classes.names, items, landmarks, identity)

    def load(self, item: Item) -> Picture:
        photo = decode_photo(read_photo(self.files, item.name), upright=False)
        return align_face(photo, np.reshape(self.landmarks[item.name], (5, 2)), self.resolution)


def is_in_the_wild(name: str) -> bool:
    """Whether a path is that of a photograph in the in-the-wild folder."""
    return is_photo(name) and PurePosixPath(name).parent.name == IMAGES
