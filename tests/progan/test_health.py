"""What counts as a problem of training, and what does not."""

import math
from dataclasses import replace

import pytest

from progan.health import Likeness, problems
from tests.histories import BEGIN, history

WELL = history(4000, 100.0).rows[-1]


def whats(rows, likeness=None):
    return [problem.what for problem in problems(rows, likeness)]


def test_a_phase_that_goes_well():
    rows = [replace(WELL, swd=swd, skipped=3) for swd in (30.0, 20.0, None, 39.0)]
    assert whats(rows, Likeness(0.3, 0.2)) == []
    assert whats([BEGIN]) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_losses(value):
    assert whats([WELL, replace(WELL, g_loss=value)]) == ["the loss of the generator is not finite"]
    both = replace(WELL, d_loss=value, g_loss=value)
    assert whats([both]) == ["the loss of the discriminator and the generator is not finite"]


def test_skipped_updates():
    """Those since the row before count: a few skipped long ago are forgotten."""
    minibatch = WELL.minibatch
    before = replace(WELL, images=0, skipped=50)
    assert whats([before, replace(WELL, images=100 * minibatch, skipped=60)]) == []
    assert whats([before, replace(WELL, images=100 * minibatch, skipped=61)]) == [
        "11 of 100 iterations skipped an update, as gradients were not finite"
    ]


def test_an_swd_that_has_doubled():
    rows = [replace(WELL, swd=swd) for swd in (30.0, 20.0, 40.1, None)]
    assert whats(rows) == ["SWD is 40.1, after 20.0 at its best"]
    assert whats([replace(row, alpha=0.5) for row in rows[:2]] + rows[2:]) == []  # of the fade


def test_images_that_are_alike():
    assert whats([WELL], Likeness(generated=0.6, real=0.2)) == []
    assert whats([WELL], Likeness(generated=0.61, real=0.2)) == [
        "the images are much alike: MS-SSIM 0.61, of real ones 0.20"
    ]
