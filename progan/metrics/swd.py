"""Sliced Wasserstein distance between the patches of two image sets, scale by scale.

Section 5 of Karras et al. 2018, "Progressive Growing of GANs". Every image is decomposed into a Laplacian
pyramid; at each level, random 7×7 patches are its descriptors. The distance of two sets of descriptors is the
mean, over random directions, of the distance between their sorted projections.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from progan.files import digest_of

SMALLEST_LEVEL = 16
PATCH = 7
PATCHES_PER_IMAGE = 128
DIRECTIONS = 4 * 128  # repeats × directions per repeat: the mean of their means is the mean of all
DIRECTIONS_AT_ONCE = 32
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


@dataclass(frozen=True)
class Descriptors:
    """The input of `sliced_wasserstein`.

    images: the number of images. levels: by the side of the pyramid level in pixels, largest first, float32
    [images · 128, 147], normalised to mean 0 and standard deviation 1 per colour channel.
    """

    images: int
    levels: dict[int, Tensor]


def describe(batches: Iterable[Tensor], seed: int) -> Descriptors:
    """The descriptors of images that come in minibatches; only the descriptors stay in memory.

    batches: uint8 [N, C, R, R] with C 1 (tiled to RGB) or 3, all of one resolution R, a power of two
    ≥ 4, on any device; N may vary. Images below 16 px are enlarged to 16 by repeating pixels, as the
    authors' generator does with its output.
    seed: determines the positions of the patches. Those of the n-th image depend on (seed, n, level) alone,
    not on the batch size, so two sets with the same seed share their positions. The reference implementation
    draws them independently: use different seeds for the two sets.

    Each level is normalised by this set's own mean and deviation, so the measure ignores a shift or scaling
    of a colour channel. Levels: R, R/2, … 16. A level of 16,384 images takes 1.15 GiB.
    """
    patches: dict[int, list[Tensor]] = defaultdict(list)
    generators: dict[int, torch.Generator] = {}
    images = 0
    for batch in batches:
        images += len(batch)
        for level in laplacian_pyramid(_enlarge(batch.expand(-1, 3, -1, -1)).float()):
            side = level.shape[-1]
            if side not in generators:
                generators[side] = _generator("patches", seed, side)
            corners = patch_corners(len(batch), side, generators[side])
            patches[side].append(extract_patches(level, corners))
    return Descriptors(
        images, {side: _normalise(torch.cat(patches.pop(side))) for side in sorted(patches, reverse=True)}
    )


def sliced_wasserstein(real: Descriptors, fake: Descriptors, seed: int) -> dict[str, float]:
    """The distance at each level and their average, × 1000 as in the paper's Table 1; lower is better.

    Keys: the side of each level ("32", "16") and "average". seed: determines the 512 directions of a level.
    Two disjoint sets of real images give the noise floor, the distance of a perfect generator.
    Raises ValueError unless both sets have the same number of images.
    """
    if real.images != fake.images:
        raise ValueError(f"the sets must have the same number of images, not {real.images} and {fake.images}")
    distances = {}
    for side, descriptors in real.levels.items():
        directions = unit_directions(_generator("directions", seed, side))
        distances[str(side)] = 1000 * _distance(descriptors, fake.levels[side], directions)
    return distances | {"average": sum(distances.values()) / len(distances)}


def laplacian_pyramid(images: Tensor) -> Iterator[Tensor]:
    """Yield the levels of float images [N, C, R, R], largest first; the last one, of 16 px, is low-pass."""
    while images.shape[-1] > SMALLEST_LEVEL:
        smaller = _smooth(images)[:, :, ::2, ::2]
        stuffed = torch.zeros_like(images)
        stuffed[:, :, ::2, ::2] = 4 * smaller
        yield images - _smooth(stuffed)
        images = smaller
    yield images


def patch_corners(images: int, side: int, generator: torch.Generator) -> Tensor:
    """Top-left corners (y, x) of patches: int64 [images, 128, 2], uniform over all that fit into `side`."""
    return torch.randint(side - PATCH + 1, (images, PATCHES_PER_IMAGE, 2), generator=generator)


def extract_patches(images: Tensor, corners: Tensor) -> Tensor:
    """Cut [N · 128, C, 7, 7] patches out of [N, C, H, W] images at `corners` [N, 128, 2]."""
    windows = images.unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # [N, C, H - 6, W - 6, 7, 7], a view
    top, left = corners.to(images.device).unbind(-1)
    image = torch.arange(len(images), device=images.device)[:, None]
    return windows[image, :, top, left].flatten(0, 1)


def unit_directions(generator: torch.Generator) -> Tensor:
    """Random unit vectors in the space of descriptors: float32 [512, 147]."""
    return F.normalize(torch.randn(DIRECTIONS, 3 * PATCH * PATCH, generator=generator), dim=1)


def _generator(purpose: str, seed: int, side: int) -> torch.Generator:
    """A random generator per purpose and level, on the CPU so that draws do not depend on the device."""
    return torch.Generator().manual_seed(int(digest_of([purpose, seed, side])[:8], 16))


def _enlarge(images: Tensor) -> Tensor:
    times = max(1, SMALLEST_LEVEL // images.shape[-1])
    return images.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)


def _smooth(images: Tensor) -> Tensor:
    """Convolve with the binomial 5×5 kernel; borders are mirrored without repeating the edge.

    A sum of shifted slices instead of a convolution, which a GPU may compute in TF32.
    """
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    return _weighted_shifts(_weighted_shifts(padded, 2), 3)


def _weighted_shifts(images: Tensor, dim: int) -> Tensor:
    size = images.shape[dim] - len(BINOMIAL) + 1
    shifts = [weight * images.narrow(dim, start, size) for start, weight in enumerate(BINOMIAL)]
    return sum(shifts[1:], start=shifts[0])


def _normalise(patches: Tensor) -> Tensor:
    """[M, C, 7, 7] → [M, C · 49] with mean 0 and deviation 1 per channel; a constant channel becomes 0."""
    variance, mean = torch.var_mean(patches, dim=(0, 2, 3), correction=0, keepdim=True)
    deviation = variance.sqrt()
    return patches.sub_(mean).div_(torch.where(deviation > 0, deviation, 1)).flatten(1)


def _distance(first: Tensor, second: Tensor, directions: Tensor) -> float:
    """Mean over `directions` of the 1-Wasserstein distance between the projections of [M, D] and [M, D]."""
    total = 0.0
    for part in directions.to(first.device).split(DIRECTIONS_AT_ONCE):
        difference = _sort_rows(part @ first.T) - _sort_rows(part @ second.T)
        total += difference.abs_().mean(dim=1).double().sum().item()
    return total / len(directions)


def _sort_rows(values: Tensor) -> Tensor:
    if values.device.type != "cpu":
        return values.sort(dim=1).values
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(np.ndarray.sort, values.numpy()))  # vectorised: 7 times as fast as torch
    return values
