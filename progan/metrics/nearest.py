"""Nearest training images: whether a generator copies what it was trained on.

Images are compared at 32 × 32 px or less, so that fine texture does not hide a copy. The distance of two
images is the root mean square of their difference, in grey levels: 0 for the same image, 255 for black and
white. The reference is the distance of each real image to the nearest other one; copies are much nearer.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 32
VALUES_AT_ONCE = 2**24  # of full-size images as float32: 64 MiB
COMPARED_AT_ONCE = 1024  # reduced training images


@dataclass(frozen=True)
class Neighbours:
    """The nearest training images of Q images, nearest first, and whether each was nearest when mirrored.

    distances: float64 [Q, K]; indices: int64 [Q, K]; mirrored: bool [Q, K].
    """

    distances: Tensor
    indices: Tensor
    mirrored: Tensor

    def __getitem__(self, queries: slice) -> "Neighbours":
        """The neighbours of a slice of the queries."""
        return Neighbours(self.distances[queries], self.indices[queries], self.mirrored[queries])


def reduce(images: Tensor, side: int = SIDE) -> Tensor:
    """Average over blocks of pixels: [N, C, R, R] → float32 [N, C, S, S], S the smaller of R and `side`."""
    block = max(images.shape[-1] // side, 1)
    at_once = max(1, VALUES_AT_ONCE // images[0].numel())
    return torch.cat([F.avg_pool2d(part.float(), block) for part in images.split(at_once)])


def neighbours(
    queries: Tensor, training: Iterable[Tensor], count: int, mirror: bool, own: Tensor
) -> Neighbours:
    """The `count` nearest training images of each query; only the nearest ones so far stay in memory.

    queries: float32 [Q, C, S, S] from `reduce`. training: minibatches, uint8 [n, C, R, R], on any device.
    mirror: whether mirrored training images are compared too. own: int64 [Q], the index of the training
    image that the query itself is, which does not count; -1 if it is none.
    Raises ValueError if there are fewer than `count` training images.
    """
    device = queries.device
    flat, own = queries.double().flatten(1), own.to(device)
    best = Neighbours(
        torch.empty(len(flat), 0, dtype=torch.float64, device=device),
        torch.empty(len(flat), 0, dtype=torch.int64, device=device),
        torch.empty(len(flat), 0, dtype=torch.bool, device=device),
    )
    seen = 0
    for block in _blocks(reduce(batch.to(device)) for batch in training):
        best = _nearest(best, _compare(flat, block, mirror, own, seen), count)
        seen += len(block)
    if best.distances.shape[1] < count or not best.distances.isfinite().all():
        raise ValueError(f"{count} nearest images cannot be found among {seen}")
    return Neighbours(best.distances.cpu(), best.indices.cpu(), best.mirrored.cpu())


def measure(fakes: Neighbours, reals: Neighbours) -> dict[str, float]:
    """How near generated images are to training images, compared with how near other real images are.

    Keys: distance and distance_reals, the medians of the distance to the nearest one; ratio, the first
    divided by the second: about 1 or more for new images, towards 0 for copies; ratio_least, the same
    ratio for the generated image that is nearest. NaN or infinity if real images are duplicates.
    """
    nearest, usual = fakes.distances[:, 0], reals.distances[:, 0].median()
    return {
        "distance": nearest.median().item(),
        "distance_reals": usual.item(),
        "ratio": (nearest.median() / usual).item(),
        "ratio_least": (nearest.min() / usual).item(),
    }


def _blocks(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Minibatches joined to blocks of COMPARED_AT_ONCE or more, which multiply several times as fast."""
    block: list[Tensor] = []
    for batch in batches:
        block.append(batch)
        if sum(map(len, block)) >= COMPARED_AT_ONCE:
            yield torch.cat(block)
            block = []
    if block:
        yield torch.cat(block)


def _compare(flat: Tensor, batch: Tensor, mirror: bool, own: Tensor, first: int) -> Neighbours:
    """`flat` [Q, D] against `batch` [n, C, S, S], the training images from `first` on: [Q, n]."""
    distances = _distances(flat, batch)
    mirrored = _distances(flat, batch.flip(3)) if mirror else distances
    indices = torch.arange(first, first + len(batch), device=flat.device).expand(len(flat), -1)
    nearer = torch.minimum(distances, mirrored).masked_fill(indices == own[:, None], torch.inf)
    return Neighbours(nearer, indices, mirrored < distances)


def _distances(flat: Tensor, batch: Tensor) -> Tensor:
    """Root mean square differences, float64 [Q, n]: in double precision those of equal images are near 0."""
    return torch.cdist(flat, batch.double().flatten(1)) / flat.shape[1] ** 0.5


def _nearest(best: Neighbours, candidates: Neighbours, count: int) -> Neighbours:
    distances = torch.cat([best.distances, candidates.distances], 1)
    indices = torch.cat([best.indices, candidates.indices], 1)
    mirrored = torch.cat([best.mirrored, candidates.mirrored], 1)
    nearest, order = distances.topk(min(count, distances.shape[1]), largest=False)
    return Neighbours(nearest, indices.gather(1, order), mirrored.gather(1, order))
