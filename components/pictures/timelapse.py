"""Film how images grow, phase by phase."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from components.pictures.film import film
from components.pictures.sources import inputs_of, labels_of, phases_of
from progan.render import columns_for, frame
from progan.resolutions import phase_key
from progan.sampling import Sampler
from progan.video import WIDTHS, require_film

LAST_HOLD = 2  # the last phase is shown this many times as long as each of the others


def timelapse(
    address: str,
    seeds: Sequence[int],
    label: str | None,
    truncation: float,
    seconds: float,
    fps: int,
    out: Path,
) -> None:
    """Write a film of the images of `seeds` in all finished phases, each phase fading into the next.

    address: see `phases_of`. label: the class to show; None for all classes, one per row. out: an .mp4 or
    .gif file. Raises InputError for other files, lengths or rates.
    """
    count = require_film(out, seconds, fps)
    phases = phases_of(address)
    resolution, width = phases[-1].resolution, WIDTHS[out.suffix.lower()]
    stills = [_still(phase, seeds, label, truncation, resolution, width) for phase in phases]
    film(out, _cross_faded(stills, count), count, fps)
    first, last = phase_key(phases[0].resolution), phase_key(resolution)
    print(f"{out}: {count / fps:g} s, {first} to {last} of {address}")


def _still(
    phase: Sampler, seeds: Sequence[int], label: str | None, truncation: float, resolution: int, width: int
) -> np.ndarray:
    """A phase's images of the seeds, enlarged to `resolution`, in a frame `width` wide: uint8 [H, W, 3]."""
    labels = labels_of(phase, label)
    images = torch.cat(list(phase.images(*inputs_of(phase, seeds, labels), truncation)))
    scale = resolution // phase.resolution
    large = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return frame(large, width, columns_for(len(seeds), len(labels)))


def _cross_faded(stills: list[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """Yield `count` frames: each still is shown as long as its fade into the next one takes."""
    spans = 2 * (len(stills) - 1) + LAST_HOLD
    for number in range(count):
        index, within = divmod(number / count * spans, 2)
        current = stills[min(int(index), len(stills) - 1)]
        if index >= len(stills) - 1 or within <= 1:
            yield current
            continue
        weight = (1 - math.cos(math.pi * (within - 1))) / 2
        following = stills[int(index) + 1]
        yield np.rint(current + weight * (following.astype(np.float32) - current)).astype(np.uint8)
