"""Read a built dataset: its manifest, and one resolution as one array."""

import hashlib
import io
import math
import os
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from progan.dataset.manifest import MANIFEST_NAME, Level, Manifest, Shard
from progan.errors import InputError
from progan.files import disk_errors, read_failure, read_json
from progan.network_config import NetworkConfig

MEMINFO = Path("/proc/meminfo")  # Linux's


def load_manifest(root: Path) -> Manifest:
    """The manifest of the dataset in `root`; InputError if it is missing or malformed."""
    path = root / MANIFEST_NAME
    return parse_manifest(read_json(path), path)


def parse_manifest(values: Any, where: Path | str) -> Manifest:
    """The manifest with the JSON `values`, read from `where`; InputError if they are not a manifest."""
    try:
        return Manifest.from_json(values)
    except ValueError as error:
        raise InputError(f"{where}: not a dataset's manifest ({error}); run build-dataset again") from None


def load_images(root: Path, resolution: int) -> tuple[np.ndarray, np.ndarray | None]:
    """All images of one resolution: uint8 [N,C,R,R], and their labels: int64 [N], or None without classes.

    Every shard is first compared with the digest in the manifest. Raises InputError if a shard is missing or
    damaged, or the resolution was not built.
    """
    manifest = load_manifest(root)
    shards = built_level(manifest, resolution, root).shards
    images = _allocate((manifest.images, manifest.channels, resolution, resolution), root)
    labels = np.empty(manifest.images, np.int64) if manifest.classes else None

    def fill(shard: Shard, end: int) -> None:
        begin = end - shard.images
        _decode(root / shard.file, shard, images[begin:end], None if labels is None else labels[begin:end])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, shards, accumulate(shard.images for shard in shards)))
    return images, labels


def built_level(manifest: Manifest, resolution: int, where: Path | str) -> Level:
    """One resolution of the dataset at `where`; InputError if it was not built."""
    if resolution not in manifest.resolutions:
        built = ", ".join(map(str, manifest.resolutions))
        raise InputError(
            f"{where}: holds no {resolution} px, only {built}; raise dataset.resolution and rebuild"
        )
    return manifest.level(resolution)


def load_training_set(
    root: Path, resolution: int, network: NetworkConfig
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images and labels as `load_images` returns them; the labels are None for an unconditional network.

    Raises InputError as `require_fit`.
    """
    manifest = load_manifest(root)
    require_fit(network, manifest.channels, len(manifest.classes), root)
    images, labels = load_images(root, resolution)
    return images, labels if network.label_size else None


def require_fit(network: NetworkConfig, channels: int, classes: int, where: Path | str) -> None:
    """Raise InputError unless the network takes the images at `where`, and their labels or none."""
    if network.channels != channels:
        raise InputError(
            f"network.channels: is {network.channels}, but {where} has {channels}; set it to {channels}, "
            f"or dataset.channels to {network.channels}, which converts the images"
        )
    if network.label_size not in (0, classes):
        remedy = f"set it to {classes}, or to 0 to do without labels" if classes else "set it to 0"
        raise InputError(
            f"network.label_size: is {network.label_size}, but {where} has {classes} classes; {remedy}"
        )


def first_images(root: Path, manifest: Manifest, resolution: int) -> Iterator[tuple[np.ndarray, int | None]]:
    """Yield the images of one resolution, uint8 [R,R,C], and their labels, in order; they are read lazily.

    Raises InputError if a shard cannot be read. Digests are not compared (see verify.py).
    """
    columns = ["image.bytes", "label"] if manifest.classes else ["image.bytes"]
    for shard in manifest.level(resolution).shards:
        try:
            with pq.ParquetFile(root / shard.file) as table:
                for batch in table.iter_batches(batch_size=8, columns=columns):
                    for row in batch.to_pylist():
                        yield _pixels(row["image"]["bytes"]), row.get("label")
        except (OSError, pa.ArrowException, SyntaxError, LookupError, TypeError, ValueError) as error:
            why = " ".join(str(error).split())
            raise InputError(
                f"{root / shard.file}: cannot be read ({why}); run build-dataset again"
            ) from None


def _allocate(shape: tuple[int, ...], folder: Path) -> np.ndarray:
    """A uint8 array in memory, or in an unnamed file in `folder` if it needs over half of the free memory.

    Each of the processes that torchrun started on this machine (LOCAL_WORLD_SIZE) has its own array.
    """
    size, arrays = math.prod(shape), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if arrays * size <= _free_memory() // 2:
        return np.empty(shape, np.uint8)
    with disk_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            # A full disk raises an error here, instead of killing the process later.
            os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, np.uint8, "w+", shape=shape)


def _free_memory() -> int:
    """Free memory in bytes, reclaimable caches included; all memory if the system does not tell."""
    available = re.search(r"MemAvailable: +(\d+) kB", MEMINFO.read_text()) if MEMINFO.exists() else None
    return 1024 * int(available[1]) if available else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def verified_bytes(path: Path, shard: Shard) -> bytes:
    """A shard's bytes; InputError if they do not have the digest in the manifest."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: this shard is missing; run build-dataset again") from None
    except OSError as error:
        raise read_failure(path, error) from None
    if hashlib.sha256(data).hexdigest() != shard.sha256:
        raise InputError(f"{path}: not the shard that {MANIFEST_NAME} describes; run build-dataset again")
    return data


def _decode(path: Path, shard: Shard, images: np.ndarray, labels: np.ndarray | None) -> None:
    """Fill `images`, uint8 [n,C,R,R], and `labels`, int64 [n], from a shard."""
    table = pq.ParquetFile(pa.BufferReader(verified_bytes(path, shard)))
    if table.metadata.num_rows != shard.images:
        raise InputError(
            f"{path}: holds {table.metadata.num_rows} images, not {shard.images}; run build-dataset again"
        )
    for image, png in zip(images, _column(table, "image.bytes"), strict=True):
        image[...] = _pixels(png).transpose(2, 0, 1)
    if labels is not None:
        labels[...] = list(_column(table, "label"))


def _pixels(png: bytes) -> np.ndarray:
    """Decode a PNG file: uint8 [R,R,C]."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        pixels = np.asarray(image)  # [R,R,3], or [R,R] when grey
    return pixels.reshape(*pixels.shape[:2], -1)


def _column(table: pq.ParquetFile, name: str) -> Iterator:
    for batch in table.iter_batches(batch_size=64, columns=[name]):
        column = batch.column(0)
        yield from (column.field("bytes") if pa.types.is_struct(column.type) else column).to_pylist()
