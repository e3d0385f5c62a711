"""Images in Parquet files, as `datasets` writes them: a column `image`, and optionally a column `label`.

Row groups contain hundreds of images, so reading a single one is slow. The encoded images are therefore
copied once, file after file, to one file with random access.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from progan.config import DatasetConfig
from progan.dataset.sources.archives import READ_ERRORS, Files, FolderFiles, StoredFiles
from progan.dataset.sources.celeba_lists import Classes
from progan.dataset.sources.photo import is_hidden
from progan.errors import InputError
from progan.files import atomic_folder, digest_of

IMAGE, LABEL = "image", "label"
BATCH_ROWS, BUFFER_BYTES = 8, 2**20  # small reads save memory; a page is always read whole
UNLABELLED = -1  # in data sets whose labels are kept secret


def is_parquet(name: str) -> bool:
    """Whether a path has the suffix .parquet and is not hidden."""
    return not is_hidden(name) and name.lower().endswith(".parquet")


def open_parquet(config: DatasetConfig, files: Files, scratch: Path) -> tuple[StoredFiles, Classes]:
    """The images of all Parquet files among `files`, by path and row ("data/train.parquet#12"), with classes.

    Raises InputError if a file is damaged, lacks a column, or contains anything but encoded images.
    """
    names = sorted(filter(is_parquet, files.sizes))
    shards = [Shard.open(files, name, f"{config.path}/{name}") for name in names]
    if not any(shard.rows for shard in shards):
        raise InputError(f"{config.path}: no rows in its Parquet files; fetch them again")
    rows = [f"{shard.name}#{row}" for shard in shards for row in range(shard.rows)]
    classes = _classes(config, shards, rows)
    folder = scratch / f"{digest_of([config.path, files.identity])[:16]}.parquet"
    if not folder.exists():
        _unpack(shards, folder)
    offsets = np.load(folder / "offsets.npy", allow_pickle=False).tolist()
    begins = dict(zip(rows, offsets[:-1], strict=True))
    sizes = {row: end - begin for row, (begin, end) in zip(rows, pairwise(offsets), strict=True)}
    return StoredFiles(files.name, folder / "images", begins, sizes, files.identity), classes


@dataclass(frozen=True)
class Shard:
    """One Parquet file with images; `where` names it in messages."""

    files: Files
    name: str
    where: str
    schema: pa.Schema
    rows: int

    @classmethod
    def open(cls, files: Files, name: str, where: str) -> "Shard":
        """Read the footer. Raises InputError if there is no column of encoded images."""
        with _damage(where):
            table = _table(files, name)
            shard = cls(files, name, where, table.schema_arrow, table.metadata.num_rows)
        if IMAGE not in shard.schema.names:
            columns = ", ".join(shard.schema.names)
            raise InputError(f"{where}: no column {IMAGE}, only {columns}; rename the one of the images")
        kind = shard.schema.field(IMAGE).type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            raise InputError(f"{where}: column {IMAGE} is {kind}; encoded images (JPEG, PNG …) are expected")
        return shard

    def images(self) -> Iterator[pa.Buffer | bytes]:
        """Yield the encoded images; empty bytes for a row without one."""
        with _damage(self.where):
            for column in self._columns(IMAGE, BATCH_ROWS):
                datas = column.field("bytes") if pa.types.is_struct(column.type) else column
                for data, value in zip(datas, column, strict=True):
                    if not data.is_valid and value.is_valid and (path := value.as_py().get("path")):
                        raise InputError(
                            f"{self.where}: names the file {path} but does not hold it; save the data set "
                            "again, with its images embedded"
                        )
                    yield data.as_buffer() if data.is_valid else b""

    def labels(self) -> list[Any]:
        """The label of each row: a number, a text or None."""
        with _damage(self.where):
            return [label for column in self._columns(LABEL, 2**16) for label in column.to_pylist()]

    @property
    def label_kind(self) -> tuple[str, tuple[str, ...]]:
        """Whether labels are "numbers", "text" or "missing", and the class names of the numbers, if any."""
        if LABEL not in self.schema.names:
            return "missing", ()
        kind = self.schema.field(LABEL).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_integer(kind):
            return "numbers", self._class_names()
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return "text", ()
        raise InputError(f"{self.where}: column {LABEL} is {kind}; whole numbers or text are expected")

    def _class_names(self) -> tuple[str, ...]:
        """The class names that `datasets` writes to the schema's metadata, if any."""
        with contextlib.suppress(ValueError, KeyError, TypeError):
            features = json.loads(self.schema.metadata[b"huggingface"])["info"]["features"]
            return tuple(map(str, features[LABEL]["names"]))
        return ()

    def _columns(self, name: str, rows: int) -> Iterator[pa.Array]:
        read = 0
        for batch in _table(self.files, self.name).iter_batches(rows, columns=[name]):
            read += len(batch)
            yield batch.column(0)
        if read != self.rows:
            raise InputError(f"{self.where}: damaged ({read} rows instead of {self.rows}); fetch it again")


def _table(files: Files, name: str) -> pq.ParquetFile:
    source = files.root / name if isinstance(files, FolderFiles) else pa.BufferReader(files.read(name))
    return pq.ParquetFile(source, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)


@contextlib.contextmanager
def _damage(where: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, *READ_ERRORS) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{where}: damaged or not a Parquet file ({why}); fetch it again") from None


def _unpack(shards: list[Shard], folder: Path) -> None:
    """Write all images to folder/images, one after another, and their offsets, int64 [N+1]."""
    offsets = [0]
    with atomic_folder(folder) as partial:
        with (partial / "images").open("wb") as file:
            for shard in shards:
                for image in shard.images():
                    offsets.append(offsets[-1] + file.write(image))
        np.save(partial / "offsets.npy", np.array(offsets, np.int64), allow_pickle=False)


def _classes(config: DatasetConfig, shards: list[Shard], rows: list[str]) -> Classes:
    """The classes in the column `label`; none if it is missing or has only one class."""
    kind, names = shards[0].label_kind
    for shard in shards[1:]:
        if shard.label_kind != (kind, names):
            raise InputError(
                f"{shard.where}: its column {LABEL} is not like that of {shards[0].where}; remove one of them"
            )
    if kind == "missing":
        return Classes()
    values = [value for shard in shards for value in shard.labels()]
    if set(values) <= {None, UNLABELLED}:
        return Classes()
    classes = range(len(names)) if names else sorted(set(values) - {None})
    order = {value: label for label, value in enumerate(classes)}
    for row, value in zip(rows, values, strict=True):
        if value not in order:
            raise InputError(
                f"{config.path}/{row}: its label is {value}, none of the {len(order)} classes; correct it "
                f"or drop the column {LABEL}"
            )
    labels = {row: order[value] for row, value in zip(rows, values, strict=True)}
    return Classes(names or tuple(map(str, classes)), labels) if len(order) > 1 else Classes()
