"""A closed walk through latents or styles."""

import numpy as np
import torch
from torch import Tensor

POINTS_PER_CORNER = 256  # on the path, to measure its length


def closed_walk(points: Tensor, steps: int, on_sphere: bool = True) -> Tensor:
    """A smooth closed path through `points` in equal steps: float [steps, size].

    points: float [K, size], K ≥ 2. The path is a periodic cubic spline: it begins at the first point, passes
    the others in turn and ends one step before it returns to the first. on_sphere: the points are latents,
    near a hypersphere that a straight line between two of them would leave; so the spline interpolates their
    directions and their lengths separately, and steps are equal angles.
    """
    from scipy.interpolate import CubicSpline

    corners = points.double().numpy()
    if on_sphere:
        lengths = np.linalg.norm(corners, axis=1, keepdims=True)
        corners = np.concatenate([corners / lengths, lengths], 1)
    knots = np.arange(len(corners) + 1)
    spline = CubicSpline(knots, np.concatenate([corners, corners[:1]]), bc_type="periodic")

    def at(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions along which steps are measured, and a factor on them."""
        values = spline(times)
        if not on_sphere:
            return values, np.ones((len(times), 1))
        directions, lengths = values[:, :-1], values[:, -1:]
        return directions / np.linalg.norm(directions, axis=1, keepdims=True), lengths

    times = np.linspace(0, knots[-1], POINTS_PER_CORNER * len(corners) + 1)
    positions, _ = at(times)
    distances = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    if on_sphere:
        distances = 2 * np.arcsin(distances / 2)  # angles
    passed = np.concatenate([[0.0], np.cumsum(distances)])
    positions, factors = at(np.interp(np.arange(steps) / steps * passed[-1], passed, times))
    return torch.from_numpy(positions * factors).float()
