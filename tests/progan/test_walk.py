"""A walk through latents: closed, even, smooth, and through every seed."""

import pytest
import torch

from progan.sampling import latents_of_seeds
from progan.walk import closed_walk

STEPS = 400


def angles(points):
    """The angle between each point and the next, including the last and the first."""
    directions = torch.nn.functional.normalize(points.double(), dim=1)
    chords = (directions.roll(-1, 0) - directions).norm(dim=1)
    return 2 * torch.asin(chords / 2)


@pytest.mark.parametrize(("seeds", "size"), [([0, 1], 8), ([0, 1, 2], 64), ([5, 4, 3, 2, 1, 0, 9], 512)])
def test_a_closed_walk(seeds, size):
    latents = latents_of_seeds(seeds, size)
    walk = closed_walk(latents, STEPS)
    assert walk.shape == (STEPS, size)
    torch.testing.assert_close(walk[0], latents[0])
    steps = angles(walk)
    assert steps.max() < 1.01 * steps.mean()  # the one from the end to the beginning too …
    if len(seeds) > 2:
        assert steps.min() > 0.99 * steps.mean()  # … and between two seeds it turns back at each
    nearest = torch.cdist(latents, walk).min(1).values
    assert (nearest < 2 * steps.mean() * latents.norm(dim=1)).all()
    lengths = walk.norm(dim=1)
    assert lengths.min() > 0.9 * latents.norm(dim=1).min()
    assert lengths.max() < 1.1 * latents.norm(dim=1).max()


def test_it_has_no_sharp_turns():
    walk = closed_walk(latents_of_seeds(range(5), 64), STEPS)
    moves = torch.nn.functional.normalize(walk.roll(-1, 0) - walk, dim=1)
    turns = torch.rad2deg(torch.acos((moves.roll(-1, 0) * moves).sum(1).clamp(-1, 1)))
    assert turns.max() < 5  # straight lines from seed to seed would turn by about 120° at each


def test_seeds_come_in_order():
    latents = latents_of_seeds([7, 8, 9, 10], 64)
    where = torch.cdist(latents, closed_walk(latents, STEPS)).argmin(1)
    assert where.tolist() == sorted(where.tolist())


def test_through_styles_it_is_straight_between_two():
    """They lie on no sphere: back and forth, in equal steps of distance."""
    points = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 4.0]])
    walk = closed_walk(points, STEPS, on_sphere=False)
    torch.testing.assert_close(walk[[0, STEPS // 2]], points)
    torch.testing.assert_close(walk[[STEPS // 4, 3 * STEPS // 4]], points.mean(0).expand(2, 3))
    steps = (walk.roll(-1, 0) - walk).norm(dim=1)
    assert steps.max() < 1.01 * steps.median()
