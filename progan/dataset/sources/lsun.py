"""Source `lsun`: photographs in LMDB environments, as LSUN is distributed.

`dataset.path` is an environment (a folder with data.mdb) or a folder of several, each of which is a class:
bedroom_train_lmdb and bedroom_val_lmdb are both "bedroom". The values are encoded images.
"""

import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from progan.config import DatasetConfig
from progan.dataset.sources.folder import square
from progan.dataset.sources.photo import MAX_FILE_BYTES, decode_photo
from progan.dataset.sources.source import Item, Picture, UnusableImage, printable, refuse_attributes
from progan.errors import InputError
from progan.files import digest_of

if TYPE_CHECKING:
    import lmdb

DATA = "data.mdb"


@dataclass(frozen=True)
class KeyedItems:
    """Items created from keys on access: LSUN's three million bedrooms take 130 MB instead of 500."""

    names: pa.Array  # binary [N]
    labels: np.ndarray | None  # int16 [N]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Item:
        name = self.names[index].as_py().decode(errors="surrogateescape")
        return Item(name, None if self.labels is None else int(self.labels[index]))

    def __iter__(self) -> Iterator[Item]:
        return map(self.__getitem__, range(len(self)))


@dataclass(frozen=True)
class Lsun:
    """Each photograph's largest centred square, resized (Lanczos), in the order of the keys."""

    resolution: int
    path: Path
    single: bool  # `path` itself is the environment
    classes: tuple[str, ...]
    items: KeyedItems
    identity: str
    channels: int = 3

    @classmethod
    def open(cls, config: DatasetConfig, scratch: Path) -> "Lsun":
        """List the keys. Raises InputError if there is no environment, or one is damaged or empty."""
        refuse_attributes(config)
        path = Path(config.path)
        folders = find_environments(path)
        names = [class_name(folder.name) for folder in folders]
        classes = sorted(set(names)) if len(set(names)) > 1 else []
        single = folders == [path]
        keys = list(map(read_keys, folders))
        if not single:
            prefixes = [os.fsencode(folder.name) for folder in folders]
            keys = [pc.binary_join_element_wise(*pair, b"/") for pair in zip(prefixes, keys, strict=True)]
        of_folders = np.array([classes.index(name) for name in names] if classes else [], np.int16)
        labels = np.repeat(of_folders, [*map(len, keys)]) if classes else None
        items = KeyedItems(pa.concat_arrays(keys), labels)
        stamps = [(ascii(folder.name), (folder / DATA).stat()) for folder in folders]
        identity = digest_of([len(items), [(name, f.st_size, f.st_mtime_ns) for name, f in stamps]])
        return cls(config.resolution, path, single, tuple(map(printable, classes)), items, identity)

    def load(self, item: Item) -> Picture:
        folder, key = ("", item.name) if self.single else item.name.split("/", 1)
        data = read_value(self.path / folder, key.encode(errors="surrogateescape"))
        return square(decode_photo(data), self.resolution)


def class_name(folder: str) -> str:
    """The class of LSUN's folder: bedroom_train_lmdb, bedroom_val_lmdb and bedroom are all "bedroom"."""
    return re.sub(r"(_train|_val|_test)?(_lmdb)?$", "", folder)


def find_environments(path: Path) -> list[Path]:
    """`path` if it is an environment, else the environments directly in it, sorted by name."""
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; unzip LSUN's archive and give the folder with {DATA}")
    if (path / DATA).is_file():
        return [path]
    environments = sorted(folder for folder in path.iterdir() if (folder / DATA).is_file())
    if not environments:
        raise InputError(f"{path}: no {DATA}, nor folders that hold one; unzip LSUN's archives there")
    return environments


def read_keys(folder: Path) -> pa.Array:
    """All keys, binary [N]; InputError if the environment is empty or damaged."""
    import lmdb

    data = folder / DATA
    try:
        environment = _environment(folder)
        pages, page_bytes = environment.info()["last_pgno"] + 1, environment.stat()["psize"]
        if data.stat().st_size < pages * page_bytes:  # reading past the end would kill the process
            raise InputError(f"{data}: the file ends too early; fetch it again")
        with environment.begin() as transaction:
            keys = pa.array(transaction.cursor().iternext(values=False), pa.binary())
    except lmdb.Error as error:
        raise InputError(f"{data}: damaged, or not an LMDB environment ({error}); fetch it again") from None
    if len(keys) == 0:
        raise InputError(f"{data}: is empty; fetch it again")
    return keys


def read_value(folder: Path, key: bytes) -> bytes:
    """The value of `key`; empty if the key no longer exists. Raises UnusableImage."""
    import lmdb

    try:
        with _environment(folder).begin(buffers=True) as transaction:
            value = transaction.get(key, b"")
            if len(value) > MAX_FILE_BYTES:
                raise UnusableImage(f"the value is larger than {MAX_FILE_BYTES >> 30} GiB")
            return bytes(value)
    except lmdb.Error as error:
        raise UnusableImage(f"unreadable: {error}") from None


@functools.cache
def _environment(folder: Path) -> "lmdb.Environment":
    """The environment in `folder`; LMDB allows a process to open it only once."""
    import lmdb

    return lmdb.open(str(folder), readonly=True, lock=False, readahead=False)
