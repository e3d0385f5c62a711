import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, features

from progan.dataset.sources.photo import decode_photo, is_photo
from progan.dataset.sources.source import UnusableImage

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
GREY = RGB[:, :, 0]


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> np.ndarray:
    image = decode_photo(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def as_rgb(grey) -> np.ndarray:
    return np.repeat(np.asarray(grey)[:, :, None], 3, 2)


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[:, :, None] / 255
    return colour * share + 255 * (1 - share)


def test_rgb_and_grey_are_kept():
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(RGB))), RGB)
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(GREY))), as_rgb(GREY))
    bits = Image.fromarray(GREY > 99)
    np.testing.assert_array_equal(decoded(encoded(bits)), as_rgb((GREY > 99) * 255))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_composited_on_white(kind):
    alpha = np.random.default_rng(1).integers(0, 256, GREY.shape, np.uint8)
    alpha[0], alpha[1] = 0, 255
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    rgba = Image.fromarray(np.dstack([RGB, alpha]))
    assert np.abs(decoded(encoded(rgba, kind, **options)) - over_white(RGB, alpha)).max() <= 1
    if kind == "PNG":
        grey_alpha = Image.fromarray(np.dstack([GREY, alpha]))
        assert grey_alpha.mode == "LA"
        assert np.abs(decoded(encoded(grey_alpha)) - over_white(as_rgb(GREY), alpha)).max() <= 1


def test_palettes_with_and_without_a_transparent_colour():
    image = Image.fromarray((GREY % 3).astype(np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50, 1, 2, 3])
    colours = np.array([(10, 20, 30), (200, 100, 50), (1, 2, 3)])
    np.testing.assert_array_equal(decoded(encoded(image)), colours[GREY % 3])
    colours[1] = 255
    np.testing.assert_array_equal(decoded(encoded(image, transparency=1)), colours[GREY % 3])


def test_cmyk():
    cmyk = np.zeros((8, 8, 4), np.uint8)
    cmyk[:4, :, 0], cmyk[4:, :, 3] = 255, 255  # cyan above, black below
    pixels = decoded(encoded(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=100)).astype(int)
    assert np.abs(pixels[:3] - (0, 255, 255)).max() < 6
    assert np.abs(pixels[5:]).max() < 6


def test_sixteen_bits_are_scaled_to_eight():
    deep = np.array([[0, 128, 129, 257 * 7 + 128, 257 * 7 + 129, 65535]], np.uint16)
    expected = as_rgb([[0, 0, 1, 7, 8, 255]])
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(deep))), expected)
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(deep), "TIFF")), expected)
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(deep.astype(np.int32)), "TIFF")), expected)


def test_floats_may_run_to_one_or_to_255():
    values = np.array([[0, 0.25, 1.0]], np.float32)
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(values), "TIFF")), as_rgb([[0, 64, 255]]))
    values = np.array([[-4, 2.5, 77, 300]], np.float32)
    np.testing.assert_array_equal(
        decoded(encoded(Image.fromarray(values), "TIFF")), as_rgb([[0, 2, 77, 255]])
    )


# How the camera stores an upright picture under each EXIF orientation
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](RGB)))
    data = encoded(stored, exif=exif)
    np.testing.assert_array_equal(decoded(data), RGB)
    np.testing.assert_array_equal(np.asarray(decode_photo(data, upright=False)), np.asarray(stored))


@pytest.mark.parametrize(
    "entry",
    [
        (0x0110, 5, 1, struct.pack("<II", 1, 1)),  # the camera's model as a rational instead of text
        (0x8298, 12, 1, struct.pack("<d", 1.0)),  # the copyright as a double
        (0x011A, 10, 1, struct.pack("<ii", -72, 1)),  # the resolution as a signed rational
        (0x0110, 2, 2**31, struct.pack("<I", 2**31)),  # text beyond the end
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_a_damaged_entry_of_exif_costs_neither_picture_nor_orientation(kind, entry):
    tag, form, count, value = entry
    head = struct.pack("<HHHIHHHHI", 2, 0x0112, 3, 1, 6, 0, tag, form, count)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + head + (value if len(value) == 4 else struct.pack("<I", 38))
    stored = encoded(Image.new("RGB", (64, 48), "red"), kind, exif=exif + bytes(4) + value)
    assert decode_photo(stored).size == (48, 64)


def test_exif_that_is_none_costs_no_picture():
    for kind in ("JPEG", "PNG"):
        stored = encoded(Image.new("RGB", (64, 48), "red"), kind, exif=b"Exif\0\0" + bytes(range(99)))
        assert decode_photo(stored).size == (64, 48)


def test_large_metadata_costs_no_picture():
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "x" * 2**21, zip=True)
    texts.add_text("Comment", "y" * 2**21, zip=True)
    large = bytes(2**21)
    for kind, options in (("PNG", {"pnginfo": texts}), ("JPEG", {})):
        data = encoded(Image.fromarray(RGB), kind, icc_profile=large, **options)
        plain = encoded(Image.fromarray(RGB), kind)
        np.testing.assert_array_equal(decoded(data), decoded(plain))
    damaged = encoded(Image.fromarray(RGB), dpi=(72, 72)).replace(b"pHYs", b"pHYz")  # a wrong checksum
    np.testing.assert_array_equal(decoded(damaged), RGB)


def test_a_photograph_of_200_megapixels_is_none_too_many():
    """No more than its beginning is there, so that the test needs no memory."""
    with pytest.raises(UnusableImage, match="unreadable|truncated"):
        decode_photo(bomb(20_000, 10_000))


def test_damaged_files_say_why():
    big = Image.fromarray(np.random.default_rng(2).integers(0, 256, (99, 99, 3), np.uint8))
    cases = {
        b"": "empty",
        b"hello": "not an image",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n": "not an image",
        encoded(big, "JPEG")[:900]: "truncated",
        encoded(big)[:5000]: "unreadable",
        bomb(): "decompression bomb",
    }
    for data, why in cases.items():
        with pytest.raises(UnusableImage, match=why):
            decode_photo(data)


def bomb(width: int = 40_000, height: int = 40_000) -> bytes:
    """A PNG of so many pixels in 60 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0"))


def test_names_of_photographs():
    read = ("a.jpg", "b/C.JPEG", "x.PnG", "deep/er/y.webp", "a.jfif", "a.jpe", "a.bmp", "a.tif", "a.TIFF")
    assert all(map(is_photo, read))
    assert is_photo("a.avif") == features.check("avif")
    assert not any(map(is_photo, ("a.txt", ".a.jpg", ".cache/a.jpg", "__MACOSX/a.jpg", "b/._a.png", "jpg")))
