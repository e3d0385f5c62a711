"""Films of uint8 frames: H.264 in .mp4, or GIF."""

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from progan.errors import InputError
from progan.files import atomic_file

WIDTHS = {".mp4": 512, ".gif": 320}  # of a film in pixels, unless its images need more
MAX_FPS = {".mp4": 120, ".gif": 50}  # browsers stretch GIF frames of less than 20 ms to 100 ms
MAX_SECONDS = 600.0
CONSTANT_RATE_FACTOR = "16"  # of x264; below 18 the loss is not visible
ENCODER_THREADS = 1  # with more threads the same frames may give other bytes
BT709 = 1  # the colour space's number in H.264, so that players need not guess it
PALETTE_FRAMES = 32  # about this many frames, spread evenly, determine a GIF's palette


def require_film(out: Path, seconds: float, fps: int) -> int:
    """The number of frames of a film of `seconds` at `fps`; InputError if it cannot be written to `out`."""
    import av

    ending = out.suffix.lower()
    if ending not in WIDTHS:
        raise InputError(f"--out: {out}: a file name that ends with {' or '.join(WIDTHS)} is expected")
    if ending == ".mp4" and "libx264" not in av.codecs_available:
        raise InputError(f"--out: {out}: this PyAV has no H.264 encoder; install av, or name a .gif file")
    if not 1 <= fps <= MAX_FPS[ending]:
        raise InputError(f"--fps: {fps}: 1 to {MAX_FPS[ending]} frames per second are expected for {ending}")
    frames = round(seconds * fps) if 0 < seconds <= MAX_SECONDS else 0
    if frames < 2:
        raise InputError(
            f"--seconds: {seconds:g}: two frames or more are expected, and at most {MAX_SECONDS:g} s"
        )
    return frames


def write_film(out: Path, frames: Iterable[np.ndarray], fps: int, progress: Callable[[int], None]) -> None:
    """Write uint8 [H, W, 3] frames, H and W even, to `out`, whole or not at all.

    progress: called with the number of frames written.
    """
    write = _write_mp4 if out.suffix.lower() == ".mp4" else _write_gif
    with atomic_file(out) as partial:
        write(partial, frames, fps, progress)


def _write_mp4(file: Path, frames: Iterable[np.ndarray], fps: int, progress: Callable[[int], None]) -> None:
    """Write the form that every player and browser supports: 4:2:0, with the index first."""
    import av

    with av.open(file, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream(
            "libx264", rate=fps, options={"crf": CONSTANT_RATE_FACTOR, "preset": "slow"}
        )
        stream.pix_fmt, stream.thread_count = "yuv420p", ENCODER_THREADS
        stream.colorspace = stream.color_primaries = stream.color_trc = BT709
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            rgb = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture = rgb.reformat(format="yuv420p", dst_colorspace="ITU709")
            picture.pts, picture.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(picture))
            progress(number + 1)
        container.mux(stream.encode())


def _write_gif(file: Path, frames: Iterable[np.ndarray], fps: int, progress: Callable[[int], None]) -> None:
    """Write an endless loop. All frames share one palette, so that static parts do not flicker."""
    pictures, milliseconds = [], []
    for number, frame in enumerate(frames):
        pictures.append(Image.fromarray(frame))
        milliseconds.append(10 * (round((number + 1) * 100 / fps) - round(number * 100 / fps)))
        progress(number + 1)
    sample = pictures[:: math.ceil(len(pictures) / PALETTE_FRAMES)]
    palette = Image.fromarray(np.concatenate([np.asarray(picture) for picture in sample])).quantize(256)
    first, *others = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    first.save(file, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
