"""Film how images grow, phase by phase."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from components.pictures.film import film
from components.pictures.sources import Opened, phases_of
from progan.render import columns_for, frame
from progan.video import WIDTHS, require_film

LAST_HOLD = 2  # the last phase is shown this many times as long as each of the others


def timelapse(
    what: str,
    seeds: Sequence[int],
    label: str | None,
    truncation: float,
    seconds: float,
    fps: int,
    out: Path,
) -> None:
    """Write a film of the images of `seeds` in each finished phase, each fading into the next.

    what: see `phases_of`. label: the class to show; None for all classes, one per row. out: an .mp4 or .gif
    file. Raises InputError for other files, lengths or rates.
    """
    count = require_film(out, seconds, fps)
    phases = phases_of(what)
    resolution, width = phases[-1].sampler.resolution, WIDTHS[out.suffix.lower()]
    stills = [_still(phase, seeds, label, truncation, resolution, width) for phase in phases]
    film(out, _faded(stills, count), count, fps)
    print(f"{out}: {count / fps:g} s, {phases[0].facts['phase']} to {phases[-1].facts['phase']} of {what}")


def _still(
    phase: Opened, seeds: Sequence[int], label: str | None, truncation: float, resolution: int, width: int
) -> np.ndarray:
    """A phase's images of the seeds, enlarged to `resolution`, in a frame `width` wide: uint8 [H, W, 3]."""
    labels = phase.labels(label)
    images = torch.cat(list(phase.sampler.images(*phase.inputs(seeds, labels), truncation)))
    scale = resolution // phase.sampler.resolution
    large = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return frame(large, width, columns_for(len(seeds), len(labels)))


def _faded(stills: list[np.ndarray], count: int) -> Iterator[np.ndarray]:
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
