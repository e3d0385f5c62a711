"""A chunk of a dataset: images that one process turns into one shard per resolution.

A finished chunk leaves a receipt, so that a build that was stopped continues with the next chunk.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from progan.dataset.manifest import Shard, Skipped
from progan.dataset.png import encode_png
from progan.dataset.pyramid import pyramid
from progan.dataset.shards import shard_schema, shard_writer
from progan.dataset.sources.source import Source, UnusableImage, printable
from progan.errors import Interrupted
from progan.files import parse_json, sha256_file, write_json
from progan.resolutions import phase_key
from progan.validation import from_sealed_json, sealed


@dataclass(frozen=True)
class Job:
    """All that a worker process needs to make any chunk."""

    source: Source
    order: np.ndarray  # int64 [N], the index in the source of the dataset's n-th image
    resolutions: tuple[int, ...]  # lowest first
    folder: Path  # of the finished chunks and of the unfinished dataset
    chunk_size: int  # images
    channels: int
    classes: tuple[str, ...]  # empty if the images have no labels, or they are not wanted

    @property
    def images(self) -> int:
        return len(self.order)

    @property
    def chunks(self) -> int:
        return -(-self.images // self.chunk_size)

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    def item_indices(self, chunk: int) -> list[int]:
        return self.order[chunk * self.chunk_size : (chunk + 1) * self.chunk_size].tolist()

    def shard_file(self, chunk: int, resolution: int) -> str:
        return f"{phase_key(resolution)}/train-{chunk:05d}-of-{self.chunks:05d}.parquet"

    def receipt(self, chunk: int) -> Path:
        """The path of a finished chunk's receipt, a `Chunk` as JSON."""
        return self.folder / "finished" / f"{chunk:05d}.json"


@dataclass(frozen=True)
class Chunk:
    """A finished chunk: its shards by phase key, and what the manifest counts."""

    shards: dict[str, Shard]
    labels: dict[str, int]  # number of images by label, as text
    skipped: tuple[Skipped, ...]
    enlarged: int
    checks: tuple[tuple[str, str, str], ...]  # image, result, detail


def finished_chunks(job: Job) -> dict[int, Chunk]:
    """The chunks that an earlier build finished: those with a receipt and all of their shards."""
    chunks = {}
    for index in range(job.chunks):
        if job.receipt(index).exists():
            try:
                chunk = from_sealed_json(Chunk, parse_json(job.receipt(index).read_bytes()))
            except (ValueError, OSError):
                continue  # it is made again
            files = [(job.dataset / shard.file, shard.bytes) for shard in chunk.shards.values()]
            if all(file.is_file() and file.stat().st_size == size for file, size in files):
                chunks[index] = chunk
    return chunks


Chunks = Generator[tuple[int, Chunk], None, None]  # index and chunk, in the order in which they are finished


def make_chunks(job: Job, pending: list[int], workers: int, advance: Callable[[int], None]) -> Chunks:
    """Make the chunks `pending` in `workers` processes; `advance` gets the number of images done."""
    workers = min(workers, len(pending))
    return _in_processes(job, pending, workers, advance) if workers > 1 else _in_turn(job, pending, advance)


def _make_chunk(job: Job, index: int, tick: Callable[[], None]) -> Chunk:
    """Decode each image of a chunk once and write its shards of all resolutions; call `tick` per image."""
    files = {resolution: job.shard_file(index, resolution) for resolution in job.resolutions}
    schema = shard_schema(job.classes)
    labels: Counter[str] = Counter()
    skipped, enlarged = [], 0
    checks: list[tuple[str, str, str]] = []
    with contextlib.ExitStack() as stack:
        writers = {r: stack.enter_context(shard_writer(job.dataset / files[r], schema)) for r in files}
        for position in job.item_indices(index):
            item = job.source.items[position]
            name = printable(item.name)
            try:
                picture = job.source.load(item)
            except UnusableImage as error:
                check = error.check
                skipped.append(Skipped(name, str(error)))
            else:
                check = picture.check
                enlarged += picture.enlarged
                label = item.label if job.classes else None
                labels[str(label)] += 1
                levels = pyramid(in_channels(picture.pixels, job.channels))
                for resolution, writer in writers.items():
                    writer.add(encode_png(levels[resolution]), name, label)
            if check is not None:
                checks.append((name, check.result, check.detail))
            tick()
    shards = {}
    for resolution, file in files.items():
        path = job.dataset / file
        images = writers[resolution].images
        shards[phase_key(resolution)] = Shard(file, images, path.stat().st_size, sha256_file(path))
    chunk = Chunk(shards, dict(labels), tuple(skipped), enlarged, tuple(checks))
    write_json(job.receipt(index), sealed(dataclasses.asdict(chunk)))
    return chunk


def in_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """uint8 [S,S,C] with 1 channel, the luma of ITU-R 601, or with 3 equal ones if there was one."""
    if pixels.shape[-1] == channels:
        return pixels
    image = Image.fromarray(pixels.squeeze()).convert("L" if channels == 1 else "RGB")
    return np.asarray(image).reshape(*pixels.shape[:2], channels)


# ------------------------------------------------------------------------------------------------
# Processes


def _in_turn(job: Job, pending: list[int], advance: Callable[[int], None]) -> Chunks:
    """Make chunks in this process."""
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        advance(done)

    for index in pending:
        yield index, _make_chunk(job, index, tick)


def _in_processes(job: Job, pending: list[int], workers: int, advance: Callable[[int], None]) -> Chunks:
    """Make chunks in worker processes; when the caller closes this generator, they stop within an image."""
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Event()
    with ProcessPoolExecutor(workers, context, _start_worker, (job, done, stop)) as pool:
        running: dict[Future[Chunk], int] = {pool.submit(_work, index): index for index in pending}
        try:
            while running:
                finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                advance(done.value)
                for future in finished:
                    yield running.pop(future), future.result()
        except BrokenProcessPool:
            raise Interrupted(
                "a worker process was killed (out of memory?); run again with fewer cores (taskset) to go on"
            ) from None
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


_worker: tuple[Job, Any, Any]  # in a worker process: job, shared number of images done, stop event


def _start_worker(job: Job, done: Any, stop: Any) -> None:
    global _worker
    _worker = (job, done, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles it
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(index: int) -> Chunk:
    job, done, stop = _worker

    def tick() -> None:
        with done.get_lock():
            done.value += 1
        if stop.is_set():
            raise Interrupted("the build was stopped; run again to go on")

    return _make_chunk(job, index, tick)
