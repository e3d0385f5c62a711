"""A film of how images grow, phase by phase."""

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

LAST = 2  # times as long as each of the others the last phase is held


def timelapse(
    what: str,
    seeds: Sequence[int],
    label: str | None,
    truncation: float,
    seconds: float,
    fps: int,
    out: Path,
) -> None:
    """Film the images of `seeds` in each finished phase, one fading into the next, to an .mp4 or .gif file.

    what: see `phases_of`. A conditional generator shows the class `label`, or a row for each.
    """
    count = require_film(out, seconds, fps)
    phases = phases_of(what)
    resolution, width = phases[-1].resolution, WIDTHS[out.suffix.lower()]
    stages = [_stage(phase, seeds, label, truncation, resolution, width) for phase in phases]
    film(out, _faded(stages, count), count, fps)
    first, last = phase_key(phases[0].resolution), phase_key(resolution)
    print(f"{out}: {count / fps:g} s, {first} to {last} of {what}")


def _stage(
    phase: Sampler, seeds: Sequence[int], label: str | None, truncation: float, resolution: int, width: int
) -> np.ndarray:
    """What a phase makes of the seeds, enlarged to `resolution`, in a frame `width` wide: uint8 [H, W, 3]."""
    labels = labels_of(phase, label)
    images = torch.cat(list(phase.images(*inputs_of(phase, seeds, labels), truncation)))
    scale = resolution // phase.resolution
    large = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return frame(large, width, columns_for(len(seeds), len(labels)))


def _faded(stages: list[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """`count` frames: each stage is held as long as it then fades into the next, the last LAST times that."""
    spans = 2 * (len(stages) - 1) + LAST
    for number in range(count):
        stage, within = divmod(number / count * spans, 2)
        here = stages[min(int(stage), len(stages) - 1)]
        if stage >= len(stages) - 1 or within <= 1:
            yield here
            continue
        weight = (1 - math.cos(math.pi * (within - 1))) / 2
        there = stages[int(stage) + 1]
        yield np.rint(here + weight * (there.astype(np.float32) - here)).astype(np.uint8)
