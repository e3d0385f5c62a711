"""Source `tfrecords`: the multi-resolution data sets of the authors' code, read without TensorFlow.

The folder `dataset.path` contains NAME-r02.tfrecords … NAME-r10.tfrecords (2^2 … 2^10 px) and, for labels,
NAME-rxx.labels. Only the highest level is read: the build computes the lower ones from it again.
"""

import re
import struct
import tokenize
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from progan.config import DatasetConfig
from progan.dataset.sources.source import Item, Picture, UnusableImage, refuse_attributes, require_at_most
from progan.dataset.sources.tf_example import parse_image
from progan.errors import InputError
from progan.files import digest_of

FILE = re.compile(r"(.+)-r(\d\d)\.tfrecords")
HEADER, FOOTER = 12, 4  # bytes: a record's length and its checksum; the checksum of the data


@dataclass(frozen=True)
class TfRecords:
    """The images of one file, unchanged; the columns of the one-hot labels are classes."""

    path: Path
    offsets: np.ndarray  # int64 [N+1], the first byte of each record, and the end of the file
    channels: int
    side: int  # of every image
    classes: tuple[str, ...]
    items: tuple[Item, ...]  # named by their index in the file
    identity: str

    @classmethod
    def open(cls, config: DatasetConfig, scratch: Path) -> "TfRecords":
        """Find the highest level and its labels. Raises InputError if one is missing or damaged."""
        refuse_attributes(config)
        path, name, level = _highest_level(Path(config.path))
        offsets = record_offsets(path)
        channels, side = _first_shape(path, offsets)
        if side != 2**level:
            raise InputError(f"{path}: holds {side} px, not the {2**level} px its name says; rename it")
        require_at_most(config, side)
        one_hot = path.with_name(f"{name}-rxx.labels")
        classes, labels = read_labels(one_hot, images=len(offsets) - 1)
        stamps = [(file.name, file.stat()) for file in (path, one_hot) if file.exists()]
        identity = digest_of([(ascii(name), facts.st_size, facts.st_mtime_ns) for name, facts in stamps])
        items = tuple(Item(f"{index:08d}", label) for index, label in enumerate(labels))
        return cls(path, offsets, channels, side, classes, items, identity)

    def load(self, item: Item) -> Picture:
        index = int(item.name)
        try:
            pixels = parse_image(read_record(self.path, self.offsets[index], self.offsets[index + 1]))
        except (OSError, ValueError) as error:
            raise UnusableImage(f"damaged: {error}") from None
        expected = (self.channels, self.side, self.side)
        if pixels.shape != expected:
            raise UnusableImage(f"its shape is {pixels.shape}, that of others {expected}")
        return Picture(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _highest_level(folder: Path) -> tuple[Path, str, int]:
    """The file of the highest NN among NAME-rNN.tfrecords, NAME and NN."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; tfrecords reads no archives, unpack them first")
    matches = [match for file in sorted(folder.iterdir()) if (match := FILE.fullmatch(file.name))]
    names = sorted({match[1] for match in matches})
    if not names:
        raise InputError(f"{folder}: no files NAME-rNN.tfrecords in it; check dataset.path")
    if len(names) > 1:
        raise InputError(f"{folder}: several data sets ({', '.join(names)}); give each a folder of its own")
    highest = max(matches, key=lambda match: int(match[2]))
    return folder / highest[0], highest[1], int(highest[2])


def record_offsets(path: Path) -> np.ndarray:
    """The first byte of each record and the end of the last: int64 [N+1]. Only the headers are read."""
    size, offsets = path.stat().st_size, [0]
    with path.open("rb") as file:
        while offsets[-1] < size:
            where = f"{path}: record {len(offsets) - 1} (at byte {offsets[-1]})"
            header = file.read(HEADER)
            length, checksum = struct.unpack("<QI", header.ljust(HEADER))
            if len(header) == HEADER and checksum != masked_crc32c(header[:8]):
                raise InputError(f"{where}: the checksum of its length is wrong; fetch the file again")
            offsets.append(offsets[-1] + HEADER + length + FOOTER)
            if len(header) < HEADER or offsets[-1] > size:
                raise InputError(f"{where}: the file ends within it; fetch the file again")
            file.seek(offsets[-1])
    if size == 0:
        raise InputError(f"{path}: is empty; fetch it again")
    return np.array(offsets, np.int64)


def read_record(path: Path, begin: int, end: int) -> bytes:
    """The data of the record between two offsets; ValueError if its checksum is wrong."""
    with path.open("rb") as file:
        file.seek(begin + HEADER)
        data, checksum = file.read(end - begin - HEADER - FOOTER), file.read(FOOTER)
    if int.from_bytes(checksum, "little") != masked_crc32c(data):
        raise ValueError("its checksum is wrong")
    return data


def masked_crc32c(data: bytes) -> int:
    """The checksum of TFRecord files: CRC-32C, rotated right by 15 bits, plus a constant."""
    import google_crc32c

    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _first_shape(path: Path, offsets: np.ndarray) -> tuple[int, int]:
    """Channels and side of the first image; all others must have the same."""
    try:
        channels, height, width = parse_image(read_record(path, offsets[0], offsets[1])).shape
    except ValueError as error:
        raise InputError(f"{path}: the first record is damaged: {error}; fetch the file again") from None
    if channels not in (1, 3) or height != width or height < 4 or height & (height - 1):
        raise InputError(
            f"{path}: holds images of shape {[channels, height, width]}; 1 or 3 channels and a square of 4, "
            "8, 16 … px are expected"
        )
    return channels, height


def read_labels(path: Path, images: int) -> tuple[tuple[str, ...], list[int | None]]:
    """Class names ("0", "1", …) and the label of each image, from one-hot rows (npy [N,L]).

    There are no classes if the file is missing or has a single column. Raises InputError for any other file.
    """
    if not path.exists():
        return (), [None] * images
    try:
        one_hot = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, tokenize.TokenError) as error:
        raise InputError(f"{path}: not a NumPy array ({error}); fetch it again") from None
    if one_hot.ndim != 2 or one_hot.dtype.kind not in "fiub":
        raise InputError(
            f"{path}: numbers [images, classes] are expected, not {one_hot.dtype} {one_hot.shape}"
        )
    if len(one_hot) != images:
        raise InputError(f"{path}: has {len(one_hot)} rows for {images} images; fetch both files again")
    if one_hot.shape[1] < 2:
        return (), [None] * images
    wrong = np.flatnonzero(((one_hot == 1).sum(1) != 1) | ((one_hot != 0).sum(1) != 1))
    if len(wrong):
        raise InputError(f"{path}: row {wrong[0]} is not one-hot (a single 1, else 0); fetch it again")
    return tuple(map(str, range(one_hot.shape[1]))), one_hot.argmax(1).tolist()
