"""Grids, frames, samples, progress, and estimates of cost."""

import dataclasses

import numpy as np
import pytest
import torch

from progan.networks.progan import Generator
from progan.progress import Forecast, duration, show_progress
from progan.render import GAP, beside, columns_for, frame, grid, images_across
from progan.sampling import generate, seeded_inputs, seeded_latents, to_uint8


def test_a_grid_shows_every_pixel_in_its_place():
    images = torch.randint(0, 256, (4, 3, 4, 4), dtype=torch.uint8)
    sheet = np.asarray(grid(images, 64))  # 8 px an image: each pixel twice as wide
    assert sheet.shape == (2 * (8 + GAP) + GAP, 2 * (8 + GAP) + GAP, 3)
    for number in range(4):
        row, column = divmod(number, 2)
        top, left = row * 10 + GAP, column * 10 + GAP
        tile = sheet[top : top + 8 : 2, left : left + 8 : 2]
        np.testing.assert_array_equal(tile, images[number].permute(1, 2, 0))


@pytest.mark.parametrize(("side", "count", "columns"), [(4, 64, 8), (128, 64, 4), (1024, 64, 2), (4, 4, 2)])
def test_a_square_grid_shows_as_many_images_as_fit(side, count, columns):
    sheet = grid(torch.zeros(count, 1, side, side, dtype=torch.uint8), 512)
    tile = max(64 // side, 1) * side
    assert sheet.width == sheet.height == columns * (tile + GAP) + GAP


@pytest.mark.parametrize(("side", "across"), [(4, 8), (64, 8), (128, 4), (256, 2), (1024, 2)])
def test_rows_of_a_given_length(side, across):
    assert images_across(side, 512) == across
    images = torch.zeros(2 * across, 1, side, side, dtype=torch.uint8)
    sheet = grid(images, 512, across)
    tile = max(64 // side, 1) * side + GAP
    assert sheet.size == (across * tile + GAP, 2 * tile + GAP)


@pytest.mark.parametrize(
    ("count", "classes", "columns", "size"),
    [
        (1, 1, 1, (256, 256)),
        (6, 1, 3, (244, 162)),
        (6, 8, 6, (202, 270)),  # a row of each class
        (2, 8, 2, (66, 270)),
        (1, 8, 3, (244, 244)),  # one of each class: all in a square
    ],
)
def test_a_frame_fits_into_a_square(count, classes, columns, size):
    assert columns_for(count, classes) == columns
    sheet = frame(torch.zeros(count * classes, 3, 16, 16, dtype=torch.uint8), 256, columns)
    assert sheet.shape == (*reversed(size), 3)


def test_beside():
    one = grid(torch.zeros(4, 3, 4, 4, dtype=torch.uint8), 64)
    both = beside(one, one)
    assert both.size == (2 * one.width + 24, one.height)
    assert both.getpixel((one.width + 5, 5)) == (255, 255, 255)


def test_rounding_saturates():
    images = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0])
    assert to_uint8(images).tolist() == [0, 0, 128, 191, 255, 255]


def test_generated_images_do_not_depend_on_how_many_are_asked_for(small_config):
    generator = Generator(small_config.network, 4)
    latents = seeded_latents(600, 8, 1)
    batches = list(generate(generator, latents))
    assert [len(batch) for batch in batches] == [256, 256, 88]
    assert torch.equal(
        torch.cat(batches)[:10], torch.cat(list(generate(generator, seeded_latents(10, 8, 1))))
    )


def test_inputs_of_conditional_generators(small_config):
    """The latents do not depend on labels; the labels follow them, repeated from the first."""
    network = dataclasses.replace(small_config.network, label_size=3)
    inputs = seeded_inputs(5, network, 1, torch.tensor([2, 0]))
    assert torch.equal(inputs[:, :8], seeded_latents(5, 8, 1))
    assert inputs[:, 8:].argmax(1).tolist() == [2, 0, 2, 0, 2]
    assert torch.equal(inputs[:, 8:].sum(1), torch.ones(5))
    assert torch.equal(seeded_inputs(5, small_config.network, 1, None), seeded_latents(5, 8, 1))


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5s"), (83, "1m 23s"), (3723, "1h 02m"), (90000, "25h 00m")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_progress_in_a_log(capsys, monkeypatch):
    """Four times as fast as planned: what follows is expected in a quarter of the planned time."""
    clock = [0.0]
    monkeypatch.setattr("progan.progress.time.monotonic", lambda: clock[0])
    with show_progress("r0008", "images", Forecast(400, later_seconds=1000)) as advance:
        for clock[0], done in ((0.0, 100), (20.0, 200), (80.0, 500)):
            advance(done, 500)
    assert capsys.readouterr().err.splitlines() == [
        "r0008 200 of 500 · 5 images/s · 1m 00s left, whole run ≈ 5m 10s",
        "r0008 500 of 500 · 5 images/s",
    ]
    with show_progress("r0016", "images") as advance:
        advance(1, 1)
    assert capsys.readouterr().err == "r0016 1 of 1\n"


def test_progress_fits_into_80_columns_and_goes(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("progan.progress.time.monotonic", lambda: clock[0])
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with show_progress("r0008", "images", Forecast(40_000, later_seconds=400_000)) as advance:
        for clock[0], done in ((0.0, 0), (100.0, 200_000)):
            advance(done, 90_000_000)
    shown = capsys.readouterr().err
    assert "2,000 images/s · 12h 28m left, whole run ≈ 137h 28m" in shown
    assert shown.count("\n") == 1
    assert shown.endswith("\x1b[1A\x1b[2K"), "the line is left behind"
