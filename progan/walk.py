"""A closed walk through latents."""

import numpy as np
import torch
from torch import Tensor

FINE = 256  # points from each of the latents to the next, by which the walk's length is measured


def closed_walk(latents: Tensor, steps: int) -> Tensor:
    """A smooth closed path through `latents`, of points at even angles: float [steps, latent_size].

    latents: float [K, latent_size], K ≥ 2; the path begins at the first, passes each in turn, bends nowhere
    sharply (a periodic cubic spline) and ends one step before it would begin again. Its points are as long as
    the latents are: a straight line between two of them would lead through the hypersphere, not along it.
    """
    from scipy.interpolate import CubicSpline

    points = latents.double().numpy()
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    known = np.concatenate([points / lengths, lengths], 1)
    spline = CubicSpline(np.arange(len(known) + 1), np.concatenate([known, known[:1]]), bc_type="periodic")

    def at(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = spline(times)
        directions, lengths = values[:, :-1], values[:, -1:]
        return directions / np.linalg.norm(directions, axis=1, keepdims=True), lengths

    times = np.linspace(0, len(known), FINE * len(known) + 1)
    directions, _ = at(times)
    angles = 2 * np.arcsin(np.linalg.norm(np.diff(directions, axis=0), axis=1) / 2)
    walked = np.concatenate([[0.0], np.cumsum(angles)])
    directions, lengths = at(np.interp(np.arange(steps) / steps * walked[-1], walked, times))
    return torch.from_numpy(directions * lengths).float()
