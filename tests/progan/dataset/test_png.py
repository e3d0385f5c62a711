import io

import numpy as np
import pytest
from PIL import Image

from progan.dataset.png import encode_png


@pytest.mark.parametrize("shape", [(4, 4, 3), (1, 7, 3), (64, 32, 1), (5, 1, 1)])
def test_pillow_reads_back_every_pixel(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    Image.open(io.BytesIO(encode_png(pixels))).verify()
    image = Image.open(io.BytesIO(encode_png(pixels)))
    assert image.mode == {1: "L", 3: "RGB"}[shape[2]]
    np.testing.assert_array_equal(np.asarray(image).reshape(shape), pixels)


def test_smooth_images_are_smaller_than_their_pixels():
    ramp = np.add.outer(np.arange(128), np.arange(128))[:, :, None].astype(np.uint8)
    assert len(encode_png(ramp)) < ramp.size / 8
