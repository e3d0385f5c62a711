import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from progan.dataset import png
from progan.dataset.png import decode_png, encode_png


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


@pytest.mark.parametrize("shape", [(4, 4, 3), (16, 7, 1)])
def test_files_of_the_encoder_are_decoded_without_pillow(shape, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    monkeypatch.setattr(png, "Image", None)
    np.testing.assert_array_equal(decode_png(encode_png(pixels)), pixels)


@pytest.mark.parametrize("title", [None, "a chunk before the pixels"])
@pytest.mark.parametrize("channels", [1, 3])
def test_files_of_other_encoders_are_decoded(channels, title):
    pixels = np.add.outer(np.arange(64), np.arange(64 * channels)).astype(np.uint8).reshape(64, 64, channels)
    file, text = io.BytesIO(), PngInfo()
    if title:
        text.add_text("Title", title)
    Image.fromarray(pixels.squeeze()).save(file, "PNG", pnginfo=text)
    np.testing.assert_array_equal(decode_png(file.getvalue()), pixels)


@pytest.mark.parametrize("cut", [20, 50])
def test_damaged_files_are_refused(cut):
    with pytest.raises((OSError, SyntaxError)):
        decode_png(encode_png(np.full((32, 32, 3), 7, np.uint8))[:cut])
