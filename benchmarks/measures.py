"""How fast images are measured: `OMP_NUM_THREADS=1 python benchmarks/measures.py`.

Prints one JSON object: the CPU seconds of the sliced Wasserstein distance and of a numpy formulation of the
authors' algorithm, and images per CPU second of the search for nearest images. Compare figures of one run
with each other: machines are shared and noisy.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Annotated

import progan  # isort: skip # noqa: F401 # before numpy and torch are loaded, it says how their threads wait
import numpy as np
import torch
import torch.nn.functional as F
import typer
from scipy import ndimage
from torch import Tensor

from progan.metrics import nearest, swd

Images = Annotated[int, typer.Option(help="How many of 64 px, and half as many of other sizes.")]
KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])[None, None].astype(np.float32) / 256
NEIGHBOURS = 5


def pictures(images: int, side: int, seed: int) -> Tensor:
    """uint8 [N, 3, R, R]: smooth colours with grain."""
    random = torch.Generator().manual_seed(seed)
    colours = 255 * torch.rand(images, 3, 8, 8, generator=random)
    grain = torch.randint(-6, 7, (images, 1, side, side), generator=random)
    return (F.interpolate(colours, side, mode="bicubic") + grain).clamp(0, 255).to(torch.uint8)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


# ------------------------------------------------------------------------------------------------
# The authors' algorithm in numpy


def numpy_pyramid(images: np.ndarray) -> list[np.ndarray]:
    """Laplacian levels of float32 [N, 3, R, R], largest first."""
    levels = []
    while images.shape[-1] > swd.SMALLEST_LEVEL:
        smaller = ndimage.convolve(images, KERNEL, mode="mirror")[:, :, ::2, ::2]
        stuffed = np.zeros_like(images)
        stuffed[:, :, ::2, ::2] = smaller
        levels.append(images - ndimage.convolve(stuffed, 4 * KERNEL, mode="mirror"))
        images = smaller
    return [*levels, images]


def numpy_patches(images: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """128 patches of each of [N, 3, R, R]: [N · 128, 3, 7, 7]."""
    count, _, side, _ = images.shape
    image = np.arange(count).repeat(swd.PATCHES_PER_IMAGE)[:, None, None, None]
    top, left = random.randint(side - swd.PATCH + 1, size=(2, len(image), 1, 1, 1))
    channel, y, x = np.ogrid[:3, : swd.PATCH, : swd.PATCH]
    return images[image, channel, top + y, left + x]


def numpy_descriptors(images: np.ndarray, random: np.random.RandomState) -> dict[int, np.ndarray]:
    """By side of the level: float32 [N · 128, 147], normalised per channel."""
    patches = defaultdict(list)
    for batch in np.split(images, range(64, len(images), 64)):
        for level in numpy_pyramid(batch.astype(np.float32)):
            patches[level.shape[-1]].append(numpy_patches(level, random))
    descriptors = {}
    for side, parts in patches.items():
        values = np.concatenate(parts)
        values -= values.mean((0, 2, 3), keepdims=True)
        values /= values.std((0, 2, 3), keepdims=True)
        descriptors[side] = values.reshape(len(values), -1)
    return descriptors


def numpy_swd(real: np.ndarray, fake: np.ndarray) -> float:
    """The average of the levels, × 1000."""
    random = np.random.RandomState(0)
    reals, fakes = numpy_descriptors(real, random), numpy_descriptors(fake, random)
    distances = []
    for side, descriptors in reals.items():
        for _ in range(4):
            directions = random.normal(size=(descriptors.shape[1], 128)).astype(np.float32)
            directions /= np.linalg.norm(directions, axis=0)
            sets = [np.sort(values @ directions, axis=0) for values in (descriptors, fakes[side])]
            distances.append(np.abs(sets[0] - sets[1]).mean())
    return 1000 * float(np.mean(distances))


# ------------------------------------------------------------------------------------------------
# Measurements


def compare_swd(images: int, side: int) -> dict[str, float]:
    """CPU seconds of both and their ratio."""
    real, fake = pictures(images, side, 0), pictures(images, side, 1)

    def ours() -> None:
        sets = [swd.describe(images.split(64), seed) for seed, images in enumerate((real, fake))]
        swd.sliced_wasserstein(*sets, seed=2)

    our_seconds = cpu_seconds(ours)
    numpy_seconds = cpu_seconds(lambda: numpy_swd(real.numpy(), fake.numpy()))
    return {"ours": our_seconds, "numpy": numpy_seconds, "ratio": our_seconds / numpy_seconds}


def nearest_per_second(training: int, queries: int) -> float:
    """Training images of 64 px that are compared with all queries, and mirrored with them again."""
    images = pictures(training, 64, 0)
    reduced = nearest.reduce(images[:queries])
    own = torch.arange(queries)
    return training / cpu_seconds(
        lambda: nearest.neighbours(reduced, images.split(64), NEIGHBOURS, True, own)
    )


def main(images: Images = 512) -> None:
    torch.set_num_threads(1)
    few = images // 2
    measured = {
        "swd_cpu_seconds": {"64": compare_swd(images, 64), "128": compare_swd(few, 128)},
        "nearest_per_cpu_second": nearest_per_second(4 * images, few),
    }
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    typer.run(main)
