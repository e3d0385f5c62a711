"""Films: what a player shows, and that no unfinished file remains."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from progan.errors import InputError
from progan.video import require_film, write_film

FPS = 12


def squares(count):
    """`count` frames of 4×5 coloured squares of 16 px: uint8 [64, 80, 3]."""
    small = np.random.default_rng(0).integers(0, 256, (count, 4, 5, 3), np.uint8)
    return list(small.repeat(16, axis=1).repeat(16, axis=2))


def write(path, frames, fps=FPS):
    done = []
    write_film(path, iter(frames), fps, done.append)
    assert done == list(range(1, len(frames) + 1))


def test_mp4_for_every_browser(tmp_path):
    frames = squares(6)
    write(tmp_path / "film.mp4", frames)
    content = (tmp_path / "film.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(tmp_path / "film.mp4") as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == FPS
        assert film.duration == pytest.approx(6 / FPS * 1e6, rel=0.01)
        decoded = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
    assert len(decoded) == 6
    for actual, frame in zip(decoded, frames, strict=True):
        middles = np.abs(actual[8::16, 8::16].astype(int) - frame[8::16, 8::16])
        assert middles.max() <= 12


def test_a_gif_loops_at_its_frame_rate(tmp_path):
    frames = squares(7)
    frames[3] = frames[2]  # nothing moves
    write(tmp_path / "film.gif", frames)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.info["loop"] == 0
        decoded, milliseconds = [], 0
        for number in range(film.n_frames):
            film.seek(number)
            milliseconds += film.info["duration"]
            decoded.append(np.asarray(film.convert("RGB")))
    assert milliseconds == round(7 * 100 / FPS) * 10
    assert len(decoded) == 6
    for actual, frame in zip(decoded, frames[:3] + frames[4:], strict=True):  # 120 colours fit into a palette
        np.testing.assert_array_equal(actual, frame)


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
def test_an_interrupted_film_leaves_no_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"the one before")

    def frames():
        yield from squares(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_film(tmp_path / name, frames(), FPS, lambda done: None)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"the one before"


@pytest.mark.parametrize(
    ("name", "seconds", "fps", "message"),
    [
        ("film.avi", 1, 30, r"--out: film.avi: a file name that ends with .mp4 or .gif is expected"),
        ("film", 1, 30, "--out: film: a file name"),
        ("film.mp4", 1, 0, "--fps: 0: 1 to 120 frames per second"),
        ("film.gif", 1, 60, "--fps: 60: 1 to 50 frames per second are expected for .gif"),
        ("film.mp4", 0, 30, "--seconds: 0: two frames or more"),
        ("film.mp4", -1, 30, "--seconds: -1: two frames or more"),
        ("film.mp4", 0.04, 30, "--seconds: 0.04: two frames or more"),
        ("film.mp4", 1e9, 30, "at most 600 s"),
        ("film.mp4", float("nan"), 30, "--seconds: nan"),
    ],
)
def test_invalid_films(name, seconds, fps, message):
    with pytest.raises(InputError, match=message):
        require_film(Path(name), seconds, fps)


def test_number_of_frames():
    assert require_film(Path("a.MP4"), 16, 30) == 480
    assert require_film(Path("a.gif"), 1.5, 15) == 22


def test_no_encoder(monkeypatch):
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    with pytest.raises(InputError, match="film.mp4: this PyAV has no H.264 encoder; .* name a .gif file"):
        require_film(Path("film.mp4"), 1, FPS)
    assert require_film(Path("film.gif"), 1, FPS) == FPS
