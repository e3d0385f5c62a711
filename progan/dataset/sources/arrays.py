"""Sources of small images of one size: converted once to a file that every worker memory-maps."""

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
# Reads the published files in a folder: images uint8 [N,32,32,C], labels [N] and the names of the classes.
Read = Callable[[Path], tuple[np.ndarray, ArrayLike, Sequence[str]]]


@dataclass(frozen=True)
class NumberedItems:
    """Items named by their index and created on access, so that a million of them take 2 MB."""

    labels: np.ndarray  # int16 [N]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Item:
        return Item(f"{index:06d}", int(self.labels[index]))

    def __iter__(self) -> Iterator[Item]:
        return map(self.__getitem__, range(len(self)))


@dataclass(frozen=True)
class ArraySource:
    """The images of a .npy file, uint8 [N,32,32,C], in their order."""

    images: Path
    items: NumberedItems
    classes: tuple[str, ...]
    identity: str
    channels: int

    @classmethod
    def open(
        cls, config: DatasetConfig, scratch: Path, published: Mapping[str, Published], read: Read
    ) -> "ArraySource":
        """Check the published files and convert them, unless an earlier run left the result in `scratch`.

        Raises InputError if a file is missing or damaged, or a parameter does not apply to this source.
        """
        refuse_attributes(config)
        require_at_most(config, SIDE)
        originals = Originals.find(Path(config.path), scratch, published)
        identity = digest_of(originals.md5())
        folder = scratch / identity[:16]
        if not folder.exists():
            with atomic_folder(folder) as partial, tempfile.TemporaryDirectory(dir=partial) as unpacked:
                originals.lay_out(Path(unpacked))
                write_array(partial, *read(Path(unpacked)))
        labels = np.load(folder / "labels.npy")
        channels = _map_in_this_process(folder / "images.npy").shape[-1]
        classes = tuple(read_json(folder / "classes.json"))
        return cls(folder / "images.npy", NumberedItems(labels), classes, identity, channels)

    def load(self, item: Item) -> Picture:
        return Picture(self.pixels(int(item.name)))

    def pixels(self, index: int) -> np.ndarray:
        """The image `index`: uint8 [32,32,C]."""
        return np.array(_map_in_this_process(self.images)[index])


@functools.cache
def _map_in_this_process(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r")


def write_array(folder: Path, images: np.ndarray, labels: ArrayLike, classes: Sequence[str]) -> None:
    """Write images.npy, labels.npy and classes.json; only one image at a time is copied in memory."""
    with (folder / "images.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": images.shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.writelines(image.tobytes() for image in images)
    np.save(folder / "labels.npy", np.asarray(labels, np.int16))
    write_json(folder / "classes.json", list(classes))
