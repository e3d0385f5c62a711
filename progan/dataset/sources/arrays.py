"""Small images of one size: read as a whole once, then memory-mapped from one file by every worker."""

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from progan.config import DatasetConfig
from progan.dataset.sources.originals import Originals, Published
from progan.dataset.sources.source import Item, Picture, refuse_attributes, require_at_most
from progan.files import atomic_folder, digest_of, read_json, write_json

SIDE = 32  # pixels
# From a folder with the published files to images uint8 [N,32,32,C], labels [N] and the classes' names.
Read = Callable[[Path], tuple[np.ndarray, ArrayLike, Sequence[str]]]


@dataclass(frozen=True)
class NumberedItems:
    """Items named by their place and made when asked for, so that a million take two megabytes."""

    labels: np.ndarray  # int16 [N]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> Item:
        return Item(f"{place:06d}", int(self.labels[place]))

    def __iter__(self) -> Iterator[Item]:
        return map(self.__getitem__, range(len(self)))


@dataclass(frozen=True)
class ArraySource:
    """Images in the order of a .npy file of uint8 [N,32,32,C]."""

    images: Path
    items: NumberedItems
    classes: tuple[str, ...]
    identity: str
    channels: int

    @classmethod
    def open(
        cls, config: DatasetConfig, scratch: Path, published: Mapping[str, Published], read: Read
    ) -> "ArraySource":
        """Find and check the published files; read them unless an earlier run left their array in `scratch`.

        Raises InputError: which file is missing or damaged, or which parameter makes no sense here.
        """
        refuse_attributes(config)
        require_at_most(config, SIDE)
        originals = Originals.find(Path(config.path), scratch, published)
        identity = digest_of(originals.md5())
        folder = scratch / identity[:16]
        if not folder.exists():
            with atomic_folder(folder) as beside, tempfile.TemporaryDirectory(dir=beside) as unpacked:
                originals.lay_out(Path(unpacked))
                write_array(beside, *read(Path(unpacked)))
        labels = np.load(folder / "labels.npy")
        channels = _map_in_this_process(folder / "images.npy").shape[-1]
        classes = tuple(read_json(folder / "classes.json"))
        return cls(folder / "images.npy", NumberedItems(labels), classes, identity, channels)

    def load(self, item: Item) -> Picture:
        return Picture(self.pixels(int(item.name)))

    def pixels(self, place: int) -> np.ndarray:
        """uint8 [32,32,C]"""
        return np.array(_map_in_this_process(self.images)[place])


@functools.cache
def _map_in_this_process(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r")


def write_array(folder: Path, images: np.ndarray, labels: ArrayLike, classes: Sequence[str]) -> None:
    """Write images.npy, labels.npy and classes.json; of the images, one at a time is copied."""
    with (folder / "images.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": images.shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.writelines(image.tobytes() for image in images)
    np.save(folder / "labels.npy", np.asarray(labels, np.int16))
    write_json(folder / "classes.json", list(classes))
