"""Images in Parquet files or a folder that `datasets` saved: a column of images, and perhaps one of labels.

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
from progan.dataset.sources.labels import Classes, composed
from progan.dataset.sources.photo import is_hidden
from progan.errors import InputError
from progan.files import atomic_folder, digest_of

IMAGES, LABELS = ("image", "img"), ("label", "labels", "fine_label")  # names of the columns; the first counts
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow file
BATCH_ROWS, BUFFER_BYTES = 8, 2**20  # small reads save memory; a page is always read whole
UNLABELLED = -1  # in data sets whose labels are kept secret


def is_table(name: str) -> bool:
    """Whether a path is that of a Parquet file, or of an Arrow file as `Dataset.save_to_disk` writes it."""
    return not is_hidden(name) and name.lower().endswith((".parquet", ".arrow"))


def open_tables(config: DatasetConfig, files: Files, scratch: Path) -> tuple[StoredFiles, Classes]:
    """The images of all tables among `files`, by path and row ("data/train.parquet#12"), with classes.

    Raises InputError if a file is damaged, lacks a column, or contains anything but encoded images.
    """
    names = sorted(filter(is_table, files.sizes))
    shards = [Shard.open(files, name, f"{config.path}/{name}") for name in names]
    if not any(shard.rows for shard in shards):
        raise InputError(f"{config.path}: no rows in its tables; fetch them again")
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
    """One file with images; `where` names it in messages."""

    files: Files
    name: str
    where: str
    schema: pa.Schema
    rows: int
    image: str  # the names of its columns
    label: str | None

    @classmethod
    def open(cls, files: Files, name: str, where: str) -> "Shard":
        """Read schema and length. Raises InputError if there is no column of encoded images."""
        with _damage(where):
            schema, rows = _shape(files, name)
        image = next((column for column in IMAGES if column in schema.names), None)
        if image is None:
            columns = ", ".join(schema.names)
            raise InputError(f"{where}: no column {IMAGES[0]}, only {columns}; rename the one of the images")
        kind = schema.field(image).type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
        if _plain(kind) not in (pa.binary(), pa.large_binary(), pa.binary_view()):
            raise InputError(f"{where}: column {image} is {kind}; encoded images (JPEG, PNG …) are expected")
        label = next((column for column in LABELS if column in schema.names), None)
        return cls(files, name, where, schema, rows, image, label)

    def images(self) -> Iterator[pa.Buffer | bytes]:
        """Yield the encoded images; empty bytes for a row without one."""
        with _damage(self.where):
            for column in self._columns(self.image, BATCH_ROWS):
                datas = _decoded(column.field("bytes")) if pa.types.is_struct(column.type) else column
                for data, value in zip(datas, column, strict=True):
                    if not data.is_valid and value.is_valid and (path := value.as_py().get("path")):
                        raise InputError(
                            f"{self.where}: names the file {path} but does not hold it; save the data set "
                            "again, with its images embedded"
                        )
                    yield data.as_buffer() if data.is_valid else b""

    def labels(self) -> list[Any]:
        """The label of each row: a number, a text or None."""
        assert self.label is not None
        with _damage(self.where):
            labels = [label for column in self._columns(self.label, 2**16) for label in column.to_pylist()]
        return [composed(label) if isinstance(label, str) else label for label in labels]

    @property
    def label_kind(self) -> tuple[str, tuple[str, ...]]:
        """Whether labels are "numbers", "text" or "missing", and the class names of the numbers, if any."""
        if self.label is None:
            return "missing", ()
        kind = _plain(self.schema.field(self.label).type)
        if pa.types.is_integer(kind):
            return "numbers", self._class_names()
        if kind in (pa.string(), pa.large_string(), pa.string_view()):
            return "text", ()
        raise InputError(f"{self.where}: column {self.label} is {kind}; whole numbers or text are expected")

    def _class_names(self) -> tuple[str, ...]:
        """The class names that `datasets` writes to the schema's metadata, if any."""
        with contextlib.suppress(ValueError, KeyError, TypeError):
            features = json.loads(self.schema.metadata[b"huggingface"])["info"]["features"]
            return tuple(map(str, features[self.label]["names"]))
        return ()

    def _columns(self, name: str, rows: int) -> Iterator[pa.Array]:
        read = 0
        for column in _columns(self.files, self.name, name, rows):
            read += len(column)
            yield _decoded(column)
        if read != self.rows:
            raise InputError(f"{self.where}: damaged ({read} rows instead of {self.rows}); fetch it again")


def _shape(files: Files, name: str) -> tuple[pa.Schema, int]:
    """The schema and the number of rows."""
    if not _is_arrow(name):
        table = _parquet(files, name)
        return table.schema_arrow, table.metadata.num_rows
    with _arrow(files, name) as stream:
        return stream.schema, sum(batch.num_rows for batch in stream)


def _columns(files: Files, name: str, column: str, rows: int) -> Iterator[pa.Array]:
    """Yield the parts of one column, of up to `rows` rows in a Parquet file."""
    if not _is_arrow(name):
        for batch in _parquet(files, name).iter_batches(rows, columns=[column]):
            yield batch.column(0)
        return
    with _arrow(files, name) as stream:
        for batch in stream:
            yield batch.column(column)


def _is_arrow(name: str) -> bool:
    return name.lower().endswith(".arrow")


def _parquet(files: Files, name: str) -> pq.ParquetFile:
    source = files.root / name if isinstance(files, FolderFiles) else pa.BufferReader(files.read(name))
    return pq.ParquetFile(source, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)


def _arrow(files: Files, name: str) -> pa.ipc.RecordBatchStreamReader:
    """Arrow's reader takes a file that is cut off between two batches for a whole one."""
    if isinstance(files, FolderFiles):
        buffer = pa.memory_map(str(files.root / name)).read_buffer()
    else:
        buffer = pa.py_buffer(files.read(name))
    if buffer.slice(max(buffer.size - len(END_OF_STREAM), 0)).to_pybytes() != END_OF_STREAM:
        raise pa.ArrowInvalid("it ends too early")
    return pa.ipc.open_stream(buffer)


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values, if they are in a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


@contextlib.contextmanager
def _damage(where: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, *READ_ERRORS) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{where}: damaged, or no table of its suffix ({why}); fetch it again") from None


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
                f"{shard.where}: its labels are not like those of {shards[0].where}; remove one of them"
            )
    if kind == "missing" or config.labels == "none":
        return Classes()
    values = [value for shard in shards for value in shard.labels()]
    if set(values) <= {None, UNLABELLED}:
        return Classes()
    classes = range(len(names)) if names else set(values) - {None}
    for row, value in zip(rows, values, strict=True):
        if value not in classes:
            raise InputError(
                f"{config.path}/{row}: its label is {value}, none of the {len(classes)} classes; correct it "
                "or set dataset.labels to none"
            )
    labels = dict(zip(rows, values, strict=True))
    return Classes(names, labels) if len(names) > 1 else Classes.of(labels)
