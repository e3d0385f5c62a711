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


@dataclass(frozen=True)
class Descriptors:
    """The input of `sliced_wasserstein`.

    images: the number of images. levels: by the side of the pyramid level in pixels, largest first, float32
    [147, images · 128], normalised to mean 0 and standard deviation 1 per colour channel.
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
        images, {side: _normalise(patches.pop(side)) for side in sorted(patches, reverse=True)}
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
        smaller = _halve(images)
        yield images - _double(smaller)
        images = smaller
    yield images


def patch_corners(images: int, side: int, generator: torch.Generator) -> Tensor:
    """Top-left corners (y, x) of patches: int64 [images, 128, 2], uniform over all that fit into `side`."""
    return torch.randint(side - PATCH + 1, (images, PATCHES_PER_IMAGE, 2), generator=generator)


def extract_patches(images: Tensor, corners: Tensor) -> Tensor:
    """Cut patches out of [N, C, H, W] images at `corners` [N, 128, 2]: [N, C · 49, 128]."""
    _, channels, height, width = images.shape
    channel, y, x = (torch.arange(size, device=images.device) for size in (channels, PATCH, PATCH))
    pixels = (channel[:, None, None] * height + y[:, None]) * width + x  # [C, 7, 7], of a patch in the corner
    top, left = corners.to(images.device).unbind(-1)
    places = pixels.view(1, -1, 1) + (top * width + left)[:, None]
    return images.flatten(1).gather(1, places.flatten(1)).view_as(places)


def unit_directions(generator: torch.Generator) -> Tensor:
    """Random unit vectors in the space of descriptors: float32 [512, 147]."""
    return F.normalize(torch.randn(DIRECTIONS, 3 * PATCH * PATCH, generator=generator), dim=1)


def _generator(purpose: str, seed: int, side: int) -> torch.Generator:
    """A random generator per purpose and level, on the CPU so that draws do not depend on the device."""
    return torch.Generator().manual_seed(int(digest_of([purpose, seed, side])[:8], 16))


def _enlarge(images: Tensor) -> Tensor:
    times = max(1, SMALLEST_LEVEL // images.shape[-1])
    return images.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)


def _halve(images: Tensor) -> Tensor:
    """Convolve with the binomial 5×5 kernel and keep even rows and columns: [N, C, R, R] → [N, C, R/2, R/2].

    Borders are mirrored without repeating the edge. Sums of slices instead of a convolution, which a GPU may
    compute in TF32.
    """
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    return _halve_rows(_halve_rows(padded).mT).mT


def _halve_rows(padded: Tensor) -> Tensor:
    """Even rows weigh (1, 4, 6, 4, 1) / 16; [N, C, R + 4, W] → [N, C, R/2, W]."""
    end = padded.shape[2] - 4
    a, b, c, d, e = (padded[:, :, start : start + end : 2] for start in range(5))
    return (a + e).add_(c, alpha=6).add_(b + d, alpha=4).div_(16)


def _double(images: Tensor) -> Tensor:
    """Put zeros between the pixels and convolve as `_halve`, times 4: [N, C, R, R] → [N, C, 2R, 2R]."""
    padded = F.pad(F.pad(images, (1, 0, 1, 0), mode="reflect"), (0, 1, 0, 1), mode="replicate")
    return _double_rows(_double_rows(padded).mT).mT


def _double_rows(padded: Tensor) -> Tensor:
    """Even rows weigh (1, 6, 1) / 8, odd ones (1, 1) / 2; [N, C, R + 2, W] → [N, C, 2R, W]."""
    above, row, below = padded[:, :, :-2], padded[:, :, 1:-1], padded[:, :, 2:]
    even = (above + below).add_(row, alpha=6).div_(8)
    odd = (row + below).div_(2)
    return torch.stack((even, odd), dim=3).flatten(2, 3)


def _normalise(patches: list[Tensor]) -> Tensor:
    """[n, D, 128] each → [D, N · 128], mean 0 and deviation 1 per channel; a constant channel becomes 0."""
    descriptors = torch.cat([part.transpose(0, 1) for part in patches], dim=1).flatten(1)
    channels = descriptors.view(3, -1)
    channels -= descriptors.mean(dim=1).view(3, -1).mean(dim=1, keepdim=True)
    squares = torch.stack([row.square().mean() for row in descriptors])  # row by row, to need no second copy
    deviation = squares.view(3, -1).mean(dim=1, keepdim=True).sqrt()
    channels /= torch.where(deviation > 0, deviation, 1)
    return descriptors


def _distance(first: Tensor, second: Tensor, directions: Tensor) -> float:
    """Mean over `directions` of the 1-Wasserstein distance between the projections of [D, M] and [D, M]."""
    if first.device.type == "cpu":
        return _distance_by_numpy(first.numpy(), second.numpy(), directions.numpy())
    total = 0.0
    for part in directions.to(first.device).split(DIRECTIONS_AT_ONCE):
        difference = (part @ first).sort(dim=1).values - (part @ second).sort(dim=1).values
        total += difference.abs_().mean(dim=1).double().sum().item()
    return total / len(directions)


def _distance_by_numpy(first: np.ndarray, second: np.ndarray, directions: np.ndarray) -> float:
    """As `_distance`: numpy's sort is vectorised and takes a tenth of the time of torch's on a CPU."""
    projections = np.empty((2, DIRECTIONS_AT_ONCE, first.shape[1]), np.float32)
    total = 0.0
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for part in directions.reshape(-1, DIRECTIONS_AT_ONCE, len(first)):
            np.matmul(part, first, out=projections[0])
            np.matmul(part, second, out=projections[1])
            total += sum(pool.map(_sorted_difference, *projections))
    return total / len(directions)


def _sorted_difference(first: np.ndarray, second: np.ndarray) -> float:
    """The mean difference between the sorted values of two rows, which it overwrites."""
    first.sort()
    second.sort()
    first -= second
    return float(np.abs(first, out=first).mean(dtype=np.float64))
