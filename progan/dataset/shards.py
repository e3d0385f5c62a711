"""Parquet shards in the Hugging Face `Image` layout; the same images give the same bytes."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from progan.files import atomic_file

ROW_GROUP_BYTES = 16 * 2**20


def images_per_shard(resolution: int) -> int:
    """The number of images per shard of a dataset of up to `resolution` px: at most 403 MB of pixels."""
    return min(512, 2**27 // resolution**2)


def shard_schema(classes: tuple[str, ...]) -> pa.Schema:
    """Columns `image` and, with classes, `label`; the metadata tells `datasets` types and class names."""
    fields = [pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    features: dict[str, dict[str, object]] = {"image": {"_type": "Image"}}
    if classes:
        fields.append(pa.field("label", pa.int64()))
        features["label"] = {"names": list(classes), "_type": "ClassLabel"}
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": features}})})


class ShardWriter:
    """Collects rows and writes a row group for every ROW_GROUP_BYTES of them."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self._rows: list[tuple[bytes, str, int | None]] = []
        self._bytes = 0
        self.images = 0

    def add(self, png: bytes, name: str, label: int | None) -> None:
        self._rows.append((png, name, label))
        self._bytes += len(png)
        self.images += 1
        if self._bytes >= ROW_GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self._rows:
            return
        pngs, names, labels = zip(*self._rows, strict=True)
        columns = [
            pa.StructArray.from_arrays([pa.array(pngs, pa.binary()), pa.array(names)], ["bytes", "path"])
        ]
        if "label" in self._schema.names:
            columns.append(pa.array(labels, pa.int64()))
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows, self._bytes = [], 0


@contextlib.contextmanager
def shard_writer(path: Path, schema: pa.Schema) -> Iterator[ShardWriter]:
    """Write a shard to `path`, atomically."""
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    with atomic_file(path) as partial, pq.ParquetWriter(partial, schema, **options) as parquet:
        writer = ShardWriter(parquet, schema)
        yield writer
        writer.flush()
