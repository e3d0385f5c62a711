"""Films of uint8 frames: H.264 in .mp4, or GIF."""

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from progan.errors import InputError
from progan.files import atomic_file

WIDTHS = {".mp4": 512, ".gif": 320}  # in pixels, unless the images take more
MOST_FPS = {".mp4": 120, ".gif": 50}  # what is shown quicker than 20 ms, browsers show at 100 ms
LONGEST = 600.0  # seconds
QUALITY = "16"  # of x264's constant rate factor: below 18 nobody sees a loss
THREADS = 1  # more may make other bytes of the same frames
BT709 = 1  # as H.264 numbers it, so that players need not guess the colours
PALETTE_FRAMES = 32  # about so many, spread evenly, decide a GIF's colours


def require_film(out: Path, seconds: float, fps: int) -> int:
    """The number of frames; InputError if there can be no such film."""
    import av

    ending = out.suffix.lower()
    if ending not in WIDTHS:
        raise InputError(f"--out: {out}: a file name that ends with {' or '.join(WIDTHS)} is expected")
    if ending == ".mp4" and "libx264" not in av.codecs_available:
        raise InputError(f"--out: {out}: this PyAV has no H.264 encoder; install av, or name a .gif file")
    if not 1 <= fps <= MOST_FPS[ending]:
        raise InputError(f"--fps: {fps}: from 1 to {MOST_FPS[ending]} are expected in {ending}")
    frames = round(seconds * fps) if 0 < seconds <= LONGEST else 0
    if frames < 2:
        raise InputError(
            f"--seconds: {seconds:g}: two frames or more are expected, and at most {LONGEST:g} s"
        )
    return frames


def write_film(out: Path, frames: Iterable[np.ndarray], fps: int, shown: Callable[[int], None]) -> None:
    """Write uint8 [H, W, 3] frames, H and W even, to `out`, whole or not at all.

    shown: called with the number of frames that are done.
    """
    write = _write_mp4 if out.suffix.lower() == ".mp4" else _write_gif
    with atomic_file(out) as beside:
        write(beside, frames, fps, shown)


def _write_mp4(file: Path, frames: Iterable[np.ndarray], fps: int, shown: Callable[[int], None]) -> None:
    """What every player and browser shows: 4:2:0, its index in front."""
    import av

    with av.open(file, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": QUALITY, "preset": "slow"})
        stream.pix_fmt, stream.thread_count = "yuv420p", THREADS
        stream.colorspace = stream.color_primaries = stream.color_trc = BT709
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            rgb = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture = rgb.reformat(format="yuv420p", dst_colorspace="ITU709")
            picture.pts, picture.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(picture))
            shown(number + 1)
        container.mux(stream.encode())


def _write_gif(file: Path, frames: Iterable[np.ndarray], fps: int, shown: Callable[[int], None]) -> None:
    """It plays for ever. All frames share one palette, so that what stands still does not flicker."""
    pictures, milliseconds = [], []
    for number, frame in enumerate(frames):
        pictures.append(Image.fromarray(frame))
        milliseconds.append(10 * (round((number + 1) * 100 / fps) - round(number * 100 / fps)))
        shown(number + 1)
    some = pictures[:: math.ceil(len(pictures) / PALETTE_FRAMES)]
    palette = Image.fromarray(np.concatenate([np.asarray(picture) for picture in some])).quantize(256)
    first, *rest = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    first.save(file, "GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)
