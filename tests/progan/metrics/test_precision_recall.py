"""Precision and recall against loops in numpy, and on sets whose manifolds are known."""

import numpy as np
import pytest
import torch

from progan.metrics import precision_recall
from progan.metrics.precision_recall import NEIGHBOURS, measure

CPU = torch.device("cpu")


def blobs(*centres, count=40, spread=0.1, seed=0, dimensions=4):
    """`count` points around each of the centres, which lie on axes far from each other."""
    random = np.random.default_rng(seed)
    around = [10 * np.eye(dimensions)[centre] for centre in centres]
    points = [centre + spread * random.standard_normal((count, dimensions)) for centre in around]
    return torch.from_numpy(np.concatenate(points)).float()


def shares(real, fake):
    measured = measure(real, fake, CPU)
    return measured["precision"], measured["recall"]


def share_by_loops(manifold, points):
    """The definition, pair by pair in double precision."""
    radii = []
    for i, centre in enumerate(manifold):
        others = sorted(np.linalg.norm(centre - other) for j, other in enumerate(manifold) if j != i)
        radii.append(others[NEIGHBOURS - 1])
    inside = [
        any(np.linalg.norm(point - centre) <= radius for centre, radius in zip(manifold, radii, strict=True))
        for point in points
    ]
    return np.mean(inside)


@pytest.mark.parametrize("block", [2**24, 500])
def test_against_loops(monkeypatch, block):
    """Overlapping sets of different sizes, however many distances are in memory at once."""
    monkeypatch.setattr(precision_recall, "BLOCK", block)
    random = np.random.default_rng(1)
    real, fake = random.standard_normal((60, 5)), 0.8 * random.standard_normal((45, 5)) + 0.5
    expected = share_by_loops(real, fake), share_by_loops(fake, real)
    assert 0 < min(expected) < max(expected) < 1
    # Far from the origin, where float32 would be too coarse for sums of squares.
    assert shares(torch.from_numpy(real + 100).float(), torch.from_numpy(fake + 100).float()) == expected


def test_identical_sets():
    assert shares(blobs(0, 1), blobs(0, 1)) == (1, 1)


def test_disjoint_sets():
    assert shares(blobs(0, 1), blobs(2, 3)) == (0, 0)


def test_too_few_images_for_k_neighbours():
    for real, fake in ((blobs(0, count=NEIGHBOURS), blobs(0)), (blobs(0), blobs(0, count=NEIGHBOURS))):
        assert np.isnan(shares(real, fake)).all()
    assert shares(blobs(0, count=NEIGHBOURS + 1), blobs(0, count=NEIGHBOURS + 1)) == (1, 1)


@pytest.mark.gpu
def test_on_a_gpu():
    real, fake = blobs(0, 1, 2), blobs(1, 2, 3, seed=1)
    assert measure(real, fake, torch.device("cuda")) == measure(real, fake, CPU)
