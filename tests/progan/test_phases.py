"""The schedule by hand, and against the formula of the authors' code over a whole run."""

import math

import pytest

from progan.config import PhaseConfig
from progan.phases import Schedule


def test_schedule_by_hand():
    schedule = Schedule(PhaseConfig(8, "checkpoints/r0004", 0.1, 0.05, 16, 0.001))
    assert schedule.fade_images == 100
    assert schedule.total_images == 160  # 150, in whole minibatches
    assert [schedule.alpha(images) for images in (0, 50, 96, 100, 112)] == [0, 0.5, 0.96, 1, 1]
    assert [schedule.is_stable(images) for images in (0, 96, 112)] == [False, False, True]
    first = Schedule(PhaseConfig(4, "data/multires/r0004", 0, 0.05, 16, 0.001))
    assert first.alpha(0) == 1
    assert first.is_stable(0)


def level_of_detail(kimg, training, transition, resolution):
    """How many doublings below `resolution` the networks are after `kimg`; a fraction while one fades in."""
    phase = math.floor(kimg / (training + transition))
    within = kimg - phase * (training + transition)
    lod = math.log2(resolution) - 2 - phase
    if transition > 0:
        lod -= max(within - training, 0) / transition
    return max(lod, 0)


@pytest.mark.parametrize(("stable", "fade"), [(600, 600), (800, 800), (400, 400), (600, 0), (500, 2000)])
@pytest.mark.parametrize("minibatch", [16, 32])
def test_at_every_boundary_as_the_authors_code(stable, fade, minibatch):
    """At the start, in the middle and at the end of each fade, and one minibatch before and after each."""
    resolution, begin = 64, 0
    for level in range(2, 7):
        phase = PhaseConfig(2**level, "", 0 if level == 2 else fade, stable, minibatch, 0.001)
        schedule = Schedule(phase)
        fade_images = schedule.fade_images
        assert schedule.total_images == fade_images + 1000 * stable
        moments = {
            moment + step
            for moment in (0, fade_images // 2, fade_images, schedule.total_images)
            for step in (-minibatch, 0, minibatch)
            if 0 <= moment + step < schedule.total_images
        }
        for images in sorted(moments):
            lod = level_of_detail((begin + images) / 1000, stable, fade, resolution)
            alpha = schedule.alpha(images)
            assert 6 - level + (1 - alpha) == pytest.approx(lod, abs=1e-9)
            assert schedule.is_stable(images) == (alpha == 1) == (images >= fade_images)
        begin += schedule.total_images
