"""Film a walk through latents or, of StyleGANs, styles."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch

from components.pictures.film import film
from components.pictures.sources import labels_of, sampler_of
from progan.errors import InputError
from progan.render import columns_for, frame
from progan.sampling import latents_of_seeds
from progan.video import WIDTHS, require_film
from progan.walk import closed_walk


def interpolate(
    address: str,
    seeds: Sequence[int],
    walks: int,
    label: str | None,
    truncation: float,
    seconds: float,
    fps: int,
    out: Path,
) -> None:
    """Write a film of `walks` closed walks side by side, each through its share of `seeds`.

    address: see `sampler_of`. Each row of a frame shows one class; label: the only one, None for all classes.
    """
    count = require_film(out, seconds, fps)
    if walks < 1 or len(seeds) % walks or len(seeds) < 2 * walks:
        raise InputError(
            f"--seeds: {len(seeds)} for {walks} walks; name equally many for each walk, at least two"
        )
    sampler = sampler_of(address)
    labels = labels_of(sampler, label)
    shares = latents_of_seeds(seeds, sampler.latent_size).split(len(seeds) // walks)
    paths = [
        closed_walk(sampler.points(share, torch.full((len(share),), each)), count, not sampler.has_styles)
        for each in labels
        for share in shares
    ]
    all_labels = torch.tensor(labels).repeat_interleave(walks).repeat(count)
    points = torch.stack(paths, 1).flatten(0, 1)  # [count · labels · walks, size]
    images = chain.from_iterable(sampler.images_at(points, all_labels, truncation))

    columns, width = columns_for(walks, len(labels)), WIDTHS[out.suffix.lower()]

    def frames() -> Iterator[np.ndarray]:
        for _ in range(count):
            yield frame(torch.stack(list(islice(images, walks * len(labels)))), width, columns)

    film(out, frames(), count, fps)
    print(f"{out}: {count / fps:g} s of {address}")
