import numpy as np
import pytest

from progan.dataset.pyramid import pyramid


@pytest.mark.parametrize(("resolution", "channels"), [(4, 3), (32, 1), (128, 3)])
def test_every_level_is_the_rounded_mean_of_the_photograph_itself(resolution, channels):
    top = np.random.default_rng(0).integers(0, 256, (resolution, resolution, channels), np.uint8)
    levels = pyramid(top)
    assert list(levels) == [2**i for i in range(resolution.bit_length() - 1, 1, -1)]
    for side, level in levels.items():
        block = resolution // side
        blocks = top.reshape(side, block, side, block, channels).astype(np.float64)
        assert level.dtype == np.uint8
        np.testing.assert_array_equal(level, np.rint(blocks.mean((1, 3))))


def test_halves_are_rounded_to_even():
    top = np.zeros((8, 8, 1), np.uint8)
    top[0, 0], top[0, 2:4], top[0, 4:6], top[1, 4] = 2, 3, 5, 0  # means 0.5, 1.5, 2.5
    assert pyramid(top)[4][0, :3, 0].tolist() == [0, 2, 2]


def test_lower_levels_come_from_the_unrounded_level_above():
    top = np.zeros((16, 16, 1), np.uint8)
    top[:4, :4] = [[[2], [0], [2], [0]], [[0]] * 4, [[2], [0], [2], [0]], [[0]] * 4]
    levels = pyramid(top)
    assert levels[8][0, 0, 0] == 0  # 0.5
    assert levels[4][0, 0, 0] == 0
    top[:4, :4] = [[[2], [0], [2], [0]], [[0]] * 4, [[3], [0], [3], [0]], [[0]] * 4]
    levels = pyramid(top)
    assert levels[8][:2, :2, 0].tolist() == [[0, 0], [1, 1]]  # whose mean, 0.5, would become 0
    assert levels[4][0, 0, 0] == 1  # 10 / 16


def test_a_float_top_level_is_clipped():
    top = np.full((4, 4, 3), 255.7, np.float32)
    top[0, 0] = -3
    assert pyramid(top)[4][0, 0].tolist() == [0, 0, 0]
    assert pyramid(top)[4][1, 1].tolist() == [255, 255, 255]
