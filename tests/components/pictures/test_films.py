"""Walks and time lapses: the right images, in the right places, at the right time."""

import shutil
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from components.pictures.interpolate import interpolate
from components.pictures.timelapse import timelapse
from progan.errors import InputError
from tests.checkpoints import image_of, write_made_checkpoint


def frames_of(path):
    with av.open(path) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def shown(frame, row, column, columns, resolution=16):
    """One image in a frame, from the middle of each enlarged pixel: uint8 [R, R, 3]."""
    scale = 512 // columns // resolution
    side = scale * resolution + 2
    top, left = row * side + scale // 2, column * side + scale // 2
    return frame[top : top + side - 2 : scale, left : left + side - 2 : scale]


def alike(one, other):
    """The same picture except for the losses of H.264."""
    return np.abs(one.astype(int) - other).mean() < 6


def test_a_walk_begins_at_the_first_seed_and_closes(plain):
    interpolate("checkpoints/r0016", [3, 8, 1], 1, None, 1.0, 2.0, 30, Path("walk.mp4"))
    frames = frames_of("walk.mp4")
    assert len(frames) == 60
    assert frames[0].shape == (512, 512, 3)
    assert alike(shown(frames[0], 0, 0, 1), image_of(plain, 3))
    for seed in (8, 1):
        assert any(alike(shown(frame, 0, 0, 1), image_of(plain, seed)) for frame in frames[1:])
    changes = [
        np.abs(frame.astype(int) - after).mean()
        for frame, after in zip(frames, [*frames[1:], frames[0]], strict=True)
    ]
    assert changes[-1] <= 1.2 * max(changes[:-1])
    assert max(changes) < 0.3 * np.abs(frames[0].astype(int) - frames[20]).mean()


def test_walks_side_by_side_and_a_row_for_each_class(conditional):
    interpolate("classes/r0016", [0, 1, 2, 3, 4, 5], 3, None, 1.0, 0.2, 10, Path("walks.mp4"))
    first, _ = frames_of("walks.mp4")
    assert first.shape == (2 * 162 - 2, 3 * 162 - 2, 3)
    for row in range(2):
        for column, seed in enumerate([0, 2, 4]):
            assert alike(shown(first, row, column, 3), image_of(conditional, seed, row))
    interpolate("classes/r0016", [0, 1, 2, 3, 4, 5, 6, 7], 4, "dogs", 1.0, 0.2, 10, Path("dogs.mp4"))
    first, _ = frames_of("dogs.mp4")
    for number, seed in enumerate([0, 2, 4, 6]):
        assert alike(shown(first, *divmod(number, 2), 2), image_of(conditional, seed, 1))


@pytest.mark.parametrize(("seeds", "walks"), [([1], 1), ([1, 2, 3], 2), ([1, 2], 2), ([1, 2], 0)])
def test_invalid_walks(plain, seeds, walks):
    with pytest.raises(InputError, match=f"--seeds: {len(seeds)} for {walks} walks; .* at least two"):
        interpolate("checkpoints/r0016", seeds, walks, None, 1.0, 1.0, 30, Path("walk.mp4"))
    with pytest.raises(InputError, match="--out: walk.mov: a file name that ends with .mp4 or .gif"):
        interpolate("checkpoints/r0016", [1, 2], 1, None, 1.0, 1.0, 30, Path("walk.mov"))
    assert not list(Path().glob("walk*"))


@pytest.fixture
def phases(tmp_path, monkeypatch, small_config):
    """The generators of three phases in checkpoints, by resolution."""
    monkeypatch.chdir(tmp_path)
    generators, before = {}, None
    for side in (4, 8, 16):
        folder = Path(f"checkpoints/r{side:04d}")
        generators[side] = write_made_checkpoint(folder, small_config.network, side, seed=side, init=before)
        before = folder
    return generators


def test_a_time_lapse_shows_each_phase_and_fades_to_the_next(phases):
    timelapse("checkpoints", [5, 6], None, 1.0, 2.4, 10, Path("growing.mp4"))
    frames = frames_of("growing.mp4")
    assert len(frames) == 24  # six spans of four: 4 px, fade, 8 px, fade, and 16 px twice
    for number, side in {0: 4, 3: 4, 8: 8, 11: 8, 16: 16, 23: 16}.items():
        for column, seed in enumerate([5, 6]):
            expected = image_of(phases[side], seed).repeat(16 // side, 0).repeat(16 // side, 1)
            assert alike(shown(frames[number], 0, column, 2), expected)
    halfway = (image_of(phases[4], 5).repeat(4, 0).repeat(4, 1) / 2) + (
        image_of(phases[8], 5).repeat(2, 0).repeat(2, 1) / 2
    )
    assert alike(shown(frames[6], 0, 0, 2), halfway)
    changes = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(frames[3:9])]
    assert changes[0] < changes[2] > changes[4]  # it eases in and out


def test_a_time_lapse_of_one_phase_stands_still(plain):
    timelapse("checkpoints", [5], None, 1.0, 0.5, 10, Path("one.mp4"))
    assert all(alike(shown(frame, 0, 0, 1), image_of(plain, 5)) for frame in frames_of("one.mp4"))


def test_invalid_time_lapses(plain):
    with pytest.raises(InputError, match="nowhere: no finished phases in it; name the folder of their"):
        timelapse("nowhere", [1], None, 1.0, 1.0, 30, Path("x.mp4"))
    assert not Path("x.mp4").exists()


def test_a_time_lapse_leaves_out_phases_of_another_run(phases, small_config, capsys):
    """A new run has reached 8 px, and the phases above are from an earlier one."""
    shutil.rmtree("checkpoints/r0008")
    network = small_config.network
    write_made_checkpoint(Path("checkpoints/r0008"), network, 8, seed=1, init=Path("checkpoints/r0004"))
    timelapse("checkpoints", [1], None, 1.0, 0.5, 10, Path("x.mp4"))
    printed = capsys.readouterr()
    assert printed.out == "x.mp4: 0.5 s, r0004 to r0008 of checkpoints\n"
    assert "checkpoints: left out, from another run than r0008: r0016\n" in printed.err
