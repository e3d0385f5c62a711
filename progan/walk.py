"""A closed walk through latents."""

import numpy as np
import torch
from torch import Tensor

POINTS_PER_LATENT = 256  # on the path, to measure its length


def closed_walk(latents: Tensor, steps: int) -> Tensor:
    """A smooth closed path through `latents`, in steps of equal angle: float [steps, latent_size].

    latents: float [K, latent_size], K ≥ 2. The path is a periodic cubic spline: it begins at the first
    latent, passes the others in turn and ends one step before it returns to the first. The spline
    interpolates directions and lengths separately: a straight line between two latents would leave the
    hypersphere near which they lie.
    """
    from scipy.interpolate import CubicSpline

    points = latents.double().numpy()
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    knots = np.concatenate([points / lengths, lengths], 1)
    spline = CubicSpline(np.arange(len(knots) + 1), np.concatenate([knots, knots[:1]]), bc_type="periodic")

    def at(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = spline(times)
        directions, lengths = values[:, :-1], values[:, -1:]
        return directions / np.linalg.norm(directions, axis=1, keepdims=True), lengths

    times = np.linspace(0, len(knots), POINTS_PER_LATENT * len(knots) + 1)
    directions, _ = at(times)
    angles = 2 * np.arcsin(np.linalg.norm(np.diff(directions, axis=0), axis=1) / 2)
    distances = np.concatenate([[0.0], np.cumsum(angles)])
    directions, lengths = at(np.interp(np.arange(steps) / steps * distances[-1], distances, times))
    return torch.from_numpy(directions * lengths).float()
