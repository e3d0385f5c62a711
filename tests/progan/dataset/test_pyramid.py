import numpy as np
import pytest

from progan.dataset.pyramid import pyramid


@pytest.mark.parametrize(("resolution", "channels"), [(4, 3), (32, 1), (128, 3)])
def test_every_level_is_the_rounded_mean_of_the_photograph_itself(resolution, channels):
    """Halves, of which there are many, to even; not the mean of the rounded level above."""
    top = np.random.default_rng(0).integers(0, 256, (resolution, resolution, channels), np.uint8)
    levels = pyramid(top)
    assert list(levels) == [2**i for i in range(resolution.bit_length() - 1, 1, -1)]
    for side, level in levels.items():
        block = resolution // side
        blocks = top.reshape(side, block, side, block, channels).astype(np.float64)
        assert level.dtype == np.uint8
        np.testing.assert_array_equal(level, np.rint(blocks.mean((1, 3))))
