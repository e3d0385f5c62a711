"""Write a film and show its progress."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from progan.progress import show_progress
from progan.video import write_film


def film(out: Path, frames: Iterator[np.ndarray], count: int, fps: int) -> None:
    """Write `count` frames, uint8 [H, W, 3] each, to the .mp4 or .gif file `out`."""
    with show_progress(out.name, "frames") as advance:
        advance(0, count)
        write_film(out, frames, fps, lambda done: advance(done, count))
