"""How fast and in how much memory a dataset is built and read: `python benchmarks/build_dataset.py`.

Paints photographs, builds them with one and two workers, the plain way (Pillow in one process, a PNG file an
image and level) and with a SIGKILL in the middle, then reads 256 px into memory on one core. Prints one
JSON object. Compare figures of one run with each other: machines are shared and noisy.
"""

import json
import multiprocessing
import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image, ImageOps

from progan.config import DatasetConfig
from progan.dataset.build import build
from progan.dataset.reader import load_images
from progan.dataset.shards import images_per_shard

PHOTO = (1280, 960)  # width and height of the painted photographs


def paint(folder: Path, images: int) -> Path:
    """Smooth colours with grain, as JPEGs of about 300 kB."""
    folder.mkdir()
    for number in range(images):
        random = np.random.default_rng(number)
        rough = Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8))
        pixels = np.asarray(rough.resize(PHOTO, Image.Resampling.BICUBIC)).astype(np.int16)
        grain = np.tile(random.integers(-6, 7, (240, 320, 1), np.int16), (4, 4, 1))
        photo = Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))
        photo.save(folder / f"{number:05d}.jpg", quality=90)
    return folder


def build_plainly(config: DatasetConfig, out: Path) -> None:
    """What a script of twenty lines does: crop, resize, save a PNG a level."""
    for path in sorted(Path(config.path).iterdir()):
        with Image.open(path) as photo:
            image = ImageOps.fit(photo.convert("RGB"), (config.resolution,) * 2, Image.Resampling.LANCZOS)
        while image.width >= config.lowest_resolution:
            folder = out / str(image.width)
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{path.stem}.png")
            image = image.reduce(2)


def in_a_process(work: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """Seconds and peak memory (MB, of the process and of its largest worker) of `work(*arguments)`."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_report, args=(theirs, work, *arguments))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        return {"killed": True}
    finally:
        process.join()


def _report(pipe: Connection, work: Callable[..., Any], *arguments: Any) -> None:
    began = time.perf_counter()
    work(*arguments)
    seconds = time.perf_counter() - began
    own, workers = (
        resource.getrusage(who).ru_maxrss / 1e3 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    pipe.send({"seconds": round(seconds, 2), "process_mb": round(own), "largest_worker_mb": round(workers)})


def build_killed(config: DatasetConfig, out: Path, workers: int, when: int) -> None:
    """SIGKILL this process as soon as `when` images are done."""

    def kill(done: int, total: int) -> None:
        if done >= when:
            os.kill(os.getpid(), signal.SIGKILL)

    build(config, out, workers, kill)


def resumption(config: DatasetConfig, out: Path) -> dict[str, Any]:
    """How much of a build of two shards and a half is left after a SIGKILL a little before its end."""
    shard = images_per_shard(config.resolution)
    in_a_process(build_killed, config, out, 1, 2 * shard + shard // 4)
    seen: list[int] = []
    build(config, out, 1, lambda done, total: seen.append(done))
    return {"images_a_shard": shard, "killed_at": 2 * shard + shard // 4, "went_on_from": seen[0]}


def reading(dataset: Path, resolution: int) -> dict[str, Any]:
    """Images a second from shards to resident memory, digests checked, on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        rates = []
        for _ in range(3):
            began = time.perf_counter()
            images, _labels = load_images(dataset, resolution)
            rates.append(len(images) / (time.perf_counter() - began))
    finally:
        os.sched_setaffinity(0, cores)
    return {"resolution": resolution, "images_per_second": [round(rate) for rate in rates]}


def main(
    images: Annotated[int, typer.Option(help="Photographs for the comparison; 512 make a shard.")] = 2048,
    resolution: Annotated[int, typer.Option(help="The highest level.")] = 256,
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config = DatasetConfig(
            source="folder",
            path=str(paint(folder / "photos", images)),
            lowest_resolution=4,
            resolution=resolution,
            seed=123,
            label_attributes=(),
            max_images=None,
            max_skipped=0.0,
            verify="report",
        )
        plain = in_a_process(build_plainly, config, folder / "plain")
        one = in_a_process(build, config, folder / "one", 1)
        two = in_a_process(build, config, folder / "two", 2)
        half = in_a_process(build, replace(config, max_images=images // 2), folder / "half", 2)
        result = {
            "images": images,
            "resolution": resolution,
            "photo": PHOTO,
            "cores": os.cpu_count(),
            "plain": plain,
            "one_worker": one,
            "two_workers": two,
            "plain_over_one_worker": round(plain["seconds"] / one["seconds"], 2),
            "plain_over_two_workers": round(plain["seconds"] / two["seconds"], 2),
            "one_worker_over_two": round(one["seconds"] / two["seconds"], 2),
            "half_as_many_images": half,
            "reading_on_one_core": reading(folder / "one", min(resolution, 256)),
            "resumption_at_1024": resumption(
                replace(config, resolution=1024, max_images=320), folder / "killed"
            ),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    typer.run(main)
