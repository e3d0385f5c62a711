"""`build-dataset`: build the multi-resolution dataset from photographs.

The images are shuffled, then split into chunks by position (chunks.py); a build that was stopped continues
with the next chunk. Which shard holds an image depends neither on the number of workers nor on unusable
images.
"""

import contextlib
import csv
import fcntl
import os
import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa

from progan import RESULTS_VERSION
from progan.config import DatasetConfig
from progan.dataset.chunks import Chunk, Job, finished_chunks, make_chunks
from progan.dataset.manifest import CHECKS_NAME, FORMAT, MANIFEST_NAME, ClassCount, Level, Manifest, Skipped
from progan.dataset.reader import require_fit
from progan.dataset.shards import images_per_shard
from progan.dataset.sources.by_name import open_source
from progan.dataset.sources.source import Source, printable
from progan.errors import InputError
from progan.files import atomic_file, digest_of, disk_errors, replace_folder, write_json
from progan.network_config import NetworkConfig
from progan.resolutions import phase_key
from progan.validation import default_of

MAX_LISTED = 100  # of the images skipped, and of the files passed over
MIN_IMAGES = 2  # of which one is compared with the other
Progress = Callable[[int, int], None]  # images done, images in all


def build(
    config: DatasetConfig,
    out: Path,
    workers: int | None = None,
    progress: Progress = lambda done, total: None,
    network: NetworkConfig | None = None,
) -> Manifest:
    """Build the dataset that `config` describes in the folder `out`, which appears whole or not at all.

    workers: processes (None: one per core that this process may use). network: the one to train, which must
    take these images. A build that was stopped leaves `.<out>.partial` beside `out` and continues from there
    if its input is still the same. Raises InputError for bad input, more than max_skipped unusable images,
    fewer than MIN_IMAGES, or a full disk; Interrupted if a worker process was killed.
    """
    refuse_foreign(out)
    working = out.with_name(f".{out.name}.partial")
    with disk_errors(out), _working_folder(working, out):
        for partial in working.glob("unpacked/.*.partial"):
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
        source = open_source(config, working / "unpacked")
        job = _plan(config, source, working)
        if network is not None:
            require_fit(network, job.channels, len(job.classes), config.path)
        for other in working.iterdir():
            if other not in (job.folder, working / "unpacked"):
                shutil.rmtree(other)
        chunks = _make_chunks(job, config, workers or _cores(), progress)
        manifest = _manifest(config, job, chunks)
        for partial in job.dataset.rglob(".*.partial"):
            partial.unlink()
        _write_checks(job.dataset / CHECKS_NAME, chunks)
        write_json(job.dataset / MANIFEST_NAME, manifest.to_json())
        replace_folder(job.dataset, out)
        shutil.rmtree(job.folder)
    return manifest


def refuse_foreign(out: Path) -> None:
    """Raise InputError if `out` exists and is not a dataset, so that nothing else is ever deleted."""
    if out.exists() and not (out / MANIFEST_NAME).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and is no dataset; choose another folder, or delete it first")


@contextlib.contextmanager
def _working_folder(working: Path, out: Path) -> Iterator[None]:
    """Lock `working` for this process; afterwards delete it unless it contains finished chunks."""
    working.mkdir(parents=True, exist_ok=True)
    handle = os.open(working, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{out}: another build is writing it; wait for that one") from None
        except OSError:
            pass  # a file system without locks
        try:
            yield
        finally:
            if not any(working.glob("*/finished/*.json")):
                shutil.rmtree(working, ignore_errors=True)
    finally:
        os.close(handle)


def _plan(config: DatasetConfig, source: Source, working: Path) -> Job:
    count = len(source.items)
    if min(count, config.max_images or count) < MIN_IMAGES:
        raise InputError(f"{config.path}: a dataset needs at least {MIN_IMAGES} images; add some")
    order = np.arange(count) if config.seed is None else np.random.RandomState(config.seed).permutation(count)
    tools = [np.__version__, PIL.__version__, pa.__version__, zlib.ZLIB_RUNTIME_VERSION]
    identity = digest_of(
        [RESULTS_VERSION, FORMAT, tools, config.source, deciding_parameters(config), source.identity, count]
    )
    return Job(
        source,
        order[: config.max_images],
        config.resolutions,
        working / identity[:16],
        images_per_shard(config.resolution),
        config.channels or source.channels,
        () if config.labels == "none" else source.classes,
    )


def deciding_parameters(config: DatasetConfig) -> dict[str, Any]:
    """The parameters that decide the result beside the source, except those at their neutral value."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    deciding = [
        field.name
        for field in fields(config)
        if field.name not in ("source", "path", "max_skipped") and values[field.name] != default_of(field)
    ]
    return {name: values[name] for name in deciding} | {"label_attributes": list(config.label_attributes)}


def _cores() -> int:
    """The cores that this process may use, or all cores if the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_chunks(job: Job, config: DatasetConfig, workers: int, progress: Progress) -> list[Chunk]:
    """Make the chunks that are not finished yet; return all, in order."""
    chunks = finished_chunks(job)
    pending = [index for index in range(job.chunks) if index not in chunks]
    done = sum(len(job.item_indices(index)) for index in chunks)
    progress(done, job.images)

    def advance(images: int) -> None:
        progress(done + images, job.images)

    new_chunks = make_chunks(job, pending, workers, advance)
    with contextlib.closing(new_chunks):
        _refuse_many_skipped(chunks, job, config)
        for index, chunk in new_chunks:
            chunks[index] = chunk
            _refuse_many_skipped(chunks, job, config)
    return [chunks[index] for index in range(job.chunks)]


def _refuse_many_skipped(chunks: dict[int, Chunk], job: Job, config: DatasetConfig) -> None:
    skipped = [skip for index in sorted(chunks) for skip in chunks[index].skipped]
    if len(skipped) > config.max_skipped * job.images:
        limit = f"more than dataset.max_skipped allows ({config.max_skipped})"
        remedy = "repair or remove them, or raise it"
    elif job.images - len(skipped) < MIN_IMAGES:
        limit, remedy = f"and a dataset needs {MIN_IMAGES} usable ones", "repair them, or add others"
    else:
        return
    raise InputError(
        f"{config.path}: at least {len(skipped)} of {job.images} images are unusable, {limit}: "
        f"{listed(skipped)}; {remedy}"
    )


def listed(skipped: Sequence[Skipped]) -> str:
    """The first of the images that could not be used, and why."""
    first = "; ".join(f"{skip.name} ({skip.why})" for skip in skipped[:3])
    return first + ("; …" if len(skipped) > 3 else "")


def _manifest(config: DatasetConfig, job: Job, chunks: list[Chunk]) -> Manifest:
    labels: Counter[str] = Counter()
    for chunk in chunks:
        labels.update(chunk.labels)
    skipped = [skip for chunk in chunks for skip in chunk.skipped]
    checks = Counter(result for chunk in chunks for _, result, _ in chunk.checks)
    passed_over = getattr(job.source, "passed_over", ())  # of sources that choose among files
    keys = [phase_key(resolution) for resolution in job.resolutions]
    return Manifest(
        format=FORMAT,
        source=config.source,
        name=Path(config.path).resolve().name,
        parameters=deciding_parameters(config),
        images=job.images - len(skipped),
        channels=job.channels,
        classes=tuple(ClassCount(name, labels[str(label)]) for label, name in enumerate(job.classes)),
        enlarged=sum(chunk.enlarged for chunk in chunks),
        skipped=len(skipped),
        skipped_items=tuple(skipped[:MAX_LISTED]),
        checks=dict(sorted(checks.items())),
        levels={key: Level.of(chunk.shards[key] for chunk in chunks) for key in keys},
        passed_over=len(passed_over),
        passed_over_items=tuple(map(printable, passed_over[:MAX_LISTED])),
    )


def _write_checks(path: Path, chunks: list[Chunk]) -> None:
    rows = [row for chunk in chunks for row in chunk.checks]
    if rows:
        with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([("image", "result", "detail"), *rows])
