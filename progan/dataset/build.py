"""`build-dataset`: photographs in, the multi-resolution dataset out.

The images are shuffled, then cut into chunks by position. A chunk becomes one shard at every resolution,
in one worker process, and is then finished: a build that was stopped goes on with the next. Which image
lies in which shard depends on neither the workers nor on images that turn out to be unusable.
"""

import contextlib
import csv
import dataclasses
import fcntl
import multiprocessing
import os
import shutil
import signal
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa

from progan import RESULTS_VERSION
from progan.config import DatasetConfig, phase_key
from progan.dataset.manifest import (
    CHECKS_NAME,
    FORMAT,
    MANIFEST_NAME,
    ClassCount,
    Level,
    Manifest,
    Shard,
    Skipped,
)
from progan.dataset.png import encode_png
from progan.dataset.pyramid import pyramid
from progan.dataset.shards import images_per_shard, shard_schema, shard_writer
from progan.dataset.sources.registry import open_source
from progan.dataset.sources.source import Item, Source, UnusableImage, printable
from progan.errors import InputError, Interrupted
from progan.files import (
    atomic_file,
    digest_of,
    disk_errors,
    read_json,
    replace_folder,
    sha256_file,
    write_json,
)

MAX_LISTED_SKIPPED = 100
Progress = Callable[[int, int], None]  # images done, images in all


@dataclass(frozen=True)
class Job:
    """All that a worker process needs to make any chunk."""

    source: Source
    order: np.ndarray  # int64 [N], the place of the dataset's n-th image among the source's
    resolutions: tuple[int, ...]  # lowest first
    folder: Path  # of this build's finished chunks and of the dataset as far as it has come

    @property
    def images(self) -> int:
        return len(self.order)

    @property
    def chunk_size(self) -> int:
        return images_per_shard(self.resolutions[-1])

    @property
    def chunks(self) -> int:
        return -(-self.images // self.chunk_size)

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    def places_of(self, chunk: int) -> list[int]:
        return self.order[chunk * self.chunk_size : (chunk + 1) * self.chunk_size].tolist()

    def items_of(self, chunk: int) -> Iterator[Item]:
        items = self.source.items
        return (items[place] for place in self.places_of(chunk))

    def shard_file(self, chunk: int, resolution: int) -> str:
        return f"{phase_key(resolution)}/train-{chunk:05d}-of-{self.chunks:05d}.parquet"

    def receipt(self, chunk: int) -> Path:
        """Where a finished chunk's facts are kept."""
        return self.folder / "finished" / f"{chunk:05d}.json"


@dataclass(frozen=True)
class Chunk:
    """A finished chunk: its shards by phase key, and what the manifest counts."""

    shards: dict[str, Shard]
    labels: dict[str, int]  # images by label, as text
    skipped: list[Skipped]
    enlarged: int
    checks: list[tuple[str, str, str]]  # image, result, detail

    @classmethod
    def read(cls, path: Path) -> "Chunk":
        values = read_json(path)
        shards = {key: Shard(**shard) for key, shard in values["shards"].items()}
        skipped = [Skipped(**skip) for skip in values["skipped"]]
        return cls(**(values | {"shards": shards, "skipped": skipped}))


def build(
    config: DatasetConfig,
    out: Path,
    workers: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Build the dataset that `config` describes into the folder `out`, which appears whole or not at all.

    workers: processes (None: one for each core it may use). A build that was stopped leaves
    `.<out>.partial` beside `out` and goes on from there when its input is still the same. Raises InputError
    for bad input, more than max_skipped unusable images, or a full disk; Interrupted when a worker process
    was killed.
    """
    refuse_foreign(out)
    working = out.with_name(f".{out.name}.partial")
    with disk_errors(out), _working_folder(working, out):
        for cut_off in working.glob("unpacked/.*.partial"):
            shutil.rmtree(cut_off) if cut_off.is_dir() else cut_off.unlink()
        source = open_source(config, working / "unpacked")
        job = _plan(config, source, working)
        for other in working.iterdir():
            if other not in (job.folder, working / "unpacked"):
                shutil.rmtree(other)
        chunks = _make_chunks(job, config, workers or _cores(), progress)
        manifest = _manifest(config, job, chunks)
        for cut_off in job.dataset.rglob(".*.partial"):
            cut_off.unlink()
        _write_checks(job.dataset / CHECKS_NAME, chunks)
        write_json(job.dataset / MANIFEST_NAME, manifest.to_json())
        replace_folder(job.dataset, out)
        shutil.rmtree(job.folder)
    return manifest


def refuse_foreign(out: Path) -> None:
    """Never delete what is no dataset."""
    if out.exists() and not (out / MANIFEST_NAME).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and is no dataset; choose another folder, or delete it first")


@contextlib.contextmanager
def _working_folder(working: Path, out: Path) -> Iterator[None]:
    """Hold `working` for this process alone; afterwards keep it only if it has finished chunks."""
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
    _refuse_duplicates(config, source)
    count = len(source.items)
    order = np.arange(count) if config.seed is None else np.random.RandomState(config.seed).permutation(count)
    tools = [np.__version__, PIL.__version__, pa.__version__, zlib.ZLIB_RUNTIME_VERSION]
    fingerprint = digest_of(
        [RESULTS_VERSION, FORMAT, tools, config.source, deciding_parameters(config), source.identity]
    )
    return Job(source, order[: config.max_images], config.resolutions, working / fingerprint[:16])


def _refuse_duplicates(config: DatasetConfig, source: Source) -> None:
    hashes = np.fromiter((hash(item.name) for item in source.items), np.int64, len(source.items))
    if len(np.unique(hashes)) == len(hashes):
        return
    twice = [name for name, times in Counter(item.name for item in source.items).items() if times > 1]
    if twice:
        raise InputError(f"{config.path}: two images are called {printable(twice[0])}; rename one")


def deciding_parameters(config: DatasetConfig) -> dict[str, Any]:
    """What decides the result. Where the photographs lie and how many may be missing does not."""
    return {
        "lowest_resolution": config.lowest_resolution,
        "resolution": config.resolution,
        "seed": config.seed,
        "label_attributes": list(config.label_attributes),
        "max_images": config.max_images,
        "verify": config.verify,
    }


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_chunks(job: Job, config: DatasetConfig, workers: int, progress: Progress) -> list[Chunk]:
    """Make the chunks that are not finished yet; return all, in order."""
    chunks = _finished_chunks(job)
    pending = [index for index in range(job.chunks) if index not in chunks]
    done = sum(len(job.places_of(index)) for index in chunks)
    progress(done, job.images)

    def advance(made: int) -> None:
        progress(done + made, job.images)

    workers = min(workers, len(pending))
    made = _in_processes(job, pending, workers, advance) if workers > 1 else _in_turn(job, pending, advance)
    with contextlib.closing(made):
        _refuse_many_skipped(chunks, job, config)
        for index, chunk in made:
            chunks[index] = chunk
            _refuse_many_skipped(chunks, job, config)
    return [chunks[index] for index in range(job.chunks)]


def _finished_chunks(job: Job) -> dict[int, Chunk]:
    """What an earlier run finished: chunks with a receipt whose shards are all still there."""
    chunks = {}
    for index in range(job.chunks):
        if job.receipt(index).exists():
            chunk = Chunk.read(job.receipt(index))
            files = [(job.dataset / shard.file, shard.bytes) for shard in chunk.shards.values()]
            if all(file.is_file() and file.stat().st_size == size for file, size in files):
                chunks[index] = chunk
    return chunks


def _refuse_many_skipped(chunks: dict[int, Chunk], job: Job, config: DatasetConfig) -> None:
    skipped = [skip for index in sorted(chunks) for skip in chunks[index].skipped]
    if len(skipped) > config.max_skipped * job.images or len(skipped) == job.images:
        first = "; ".join(f"{skip.name} ({skip.why})" for skip in skipped[:3])
        raise InputError(
            f"{config.path}: at least {len(skipped)} of {job.images} images are unusable, more than "
            f"dataset.max_skipped allows ({config.max_skipped}): {first}{'; …' if len(skipped) > 3 else ''}; "
            "repair or remove them, or raise it"
        )


def _manifest(config: DatasetConfig, job: Job, chunks: list[Chunk]) -> Manifest:
    labels: Counter[str] = Counter()
    for chunk in chunks:
        labels.update(chunk.labels)
    skipped = [skip for chunk in chunks for skip in chunk.skipped]
    checks = Counter(result for chunk in chunks for _, result, _ in chunk.checks)
    keys = [phase_key(resolution) for resolution in job.resolutions]
    return Manifest(
        format=FORMAT,
        source=config.source,
        name=Path(config.path).resolve().name,
        parameters=deciding_parameters(config),
        images=job.images - len(skipped),
        channels=job.source.channels,
        classes=tuple(ClassCount(name, labels[str(label)]) for label, name in enumerate(job.source.classes)),
        enlarged=sum(chunk.enlarged for chunk in chunks),
        skipped=len(skipped),
        skipped_items=tuple(skipped[:MAX_LISTED_SKIPPED]),
        checks=dict(sorted(checks.items())),
        levels={key: Level.of(chunk.shards[key] for chunk in chunks) for key in keys},
    )


Chunks = Generator[tuple[int, Chunk], None, None]  # as they are finished


def make_chunk(job: Job, index: int, tick: Callable[[], None]) -> Chunk:
    """Decode each image of a chunk once, write its shards of all resolutions; `tick` after every image."""
    files = {resolution: job.shard_file(index, resolution) for resolution in job.resolutions}
    schema = shard_schema(job.source.classes)
    labels: Counter[str] = Counter()
    skipped, enlarged = [], 0
    checks: list[tuple[str, str, str]] = []
    with contextlib.ExitStack() as stack:
        writers = {r: stack.enter_context(shard_writer(job.dataset / files[r], schema)) for r in files}
        for item in job.items_of(index):
            name = printable(item.name)
            try:
                picture = job.source.load(item)
            except UnusableImage as error:
                check = error.check
                skipped.append(Skipped(name, str(error)))
            else:
                check = picture.check
                enlarged += picture.enlarged
                labels[str(item.label)] += 1
                levels = pyramid(picture.pixels)
                for resolution, writer in writers.items():
                    writer.add(encode_png(levels[resolution]), name, item.label)
            if check is not None:
                checks.append((name, check.result, check.detail))
            tick()
    shards = {phase_key(r): _shard(job.dataset, files[r], writers[r].images) for r in files}
    chunk = Chunk(shards, dict(labels), skipped, enlarged, checks)
    write_json(job.receipt(index), dataclasses.asdict(chunk))
    return chunk


def _write_checks(path: Path, chunks: list[Chunk]) -> None:
    rows = [row for chunk in chunks for row in chunk.checks]
    if rows:
        with atomic_file(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([("image", "result", "detail"), *rows])


def _shard(dataset: Path, file: str, images: int) -> Shard:
    path = dataset / file
    return Shard(file, images, path.stat().st_size, sha256_file(path))


def _in_turn(job: Job, pending: list[int], advance: Callable[[int], None]) -> Chunks:
    """Make chunks in this process."""
    made = 0

    def tick() -> None:
        nonlocal made
        made += 1
        advance(made)

    for index in pending:
        yield index, make_chunk(job, index, tick)


def _in_processes(job: Job, pending: list[int], workers: int, advance: Callable[[int], None]) -> Chunks:
    """Make chunks in worker processes; when the caller stops listening, they stop within an image."""
    context = multiprocessing.get_context("spawn")
    made, stop = context.Value("q", 0), context.Event()
    with ProcessPoolExecutor(workers, context, _start_worker, (job, made, stop)) as pool:
        running: dict[Future[Chunk], int] = {pool.submit(_work, index): index for index in pending}
        try:
            while running:
                finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                advance(made.value)
                for future in finished:
                    yield running.pop(future), future.result()
        except BrokenProcessPool:
            raise Interrupted(
                "a worker process was killed (out of memory?); run again with fewer cores (taskset) to go on"
            ) from None
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


_worker: tuple[Job, Any, Any]  # in a worker process: the job, the shared count of images, the signal to stop


def _start_worker(job: Job, made: Any, stop: Any) -> None:
    global _worker
    _worker = (job, made, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(index: int) -> Chunk:
    job, made, stop = _worker

    def tick() -> None:
        with made.get_lock():
            made.value += 1
        if stop.is_set():
            raise Interrupted("the build was stopped; run again to go on")

    return make_chunk(job, index, tick)
