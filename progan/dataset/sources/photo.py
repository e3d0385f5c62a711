"""Decode a photograph of any kind to an upright 8-bit RGB image."""

import functools
import io
import struct
import warnings

import numpy as np
from PIL import Image

from progan.dataset.sources.source import UnusableImage

# Pillow knows more formats, but EPS, for one, would start Ghostscript. It may read HEIF one day.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
MAX_FILE_BYTES = 2**30
Image.MAX_IMAGE_PIXELS = 2**28  # Pillow refuses twice as many: 537 megapixels

ORIENTATION = 0x0112  # in EXIF
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

PNG = b"\x89PNG\r\n\x1a\n"
MAX_TEXT_BYTES = 2**20


def is_photo(name: str) -> bool:
    """Whether a path has the suffix of a photograph and is not hidden."""
    return not is_hidden(name) and name.lower().endswith(suffixes())


@functools.cache
def suffixes() -> tuple[str, ...]:
    """The suffixes of the formats, as far as this Pillow reads them."""
    return tuple(suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS)


def is_hidden(name: str) -> bool:
    """Whether a path contains a hidden folder or file, or macOS's __MACOSX."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def decode_photo(data: bytes, upright: bool = True) -> Image.Image:
    """Decode to mode RGB: alpha over white, 16 bits scaled to 8, rotated as EXIF says if `upright`.

    Raises UnusableImage if `data` is not an image, truncated, or a decompression bomb.
    """
    if not data:
        raise UnusableImage("the file is empty")
    Image.init()
    formats = [kind for kind in FORMATS if kind in Image.OPEN]
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(_bare(data)), formats=formats) as image,
        ):
            image.load()
            turn = UPRIGHT.get(_orientation(image)) if upright else None
            return to_rgb(image if turn is None else image.transpose(turn))
    except MemoryError:
        raise
    except Exception as error:  # decoders can raise anything for damaged bytes
        raise UnusableImage(_reason(error)) from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB. 16-bit values v become v / 257, rounded half-even."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.clip(np.asarray(image).astype(np.float64), 0, 65535)
        return Image.fromarray(np.rint(values / 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        values = values * 255 if values.max() <= 1 else values
        return Image.fromarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _bare(data: bytes) -> bytes:
    """A PNG file without chunks that say nothing of its pixels: Pillow refuses the file if one is damaged,
    or large as colour profiles and XMP can be. Other files as they are."""
    if not data.startswith(PNG):
        return data
    chunks, begin = [PNG], len(PNG)
    while begin + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, begin)
        chunk = data[begin : begin + 12 + length]
        xmp = chunk[8:].startswith(b"XML:com.adobe.xmp\0\0") and length < MAX_TEXT_BYTES
        if kind[:1].isupper() or kind in (b"tRNS", b"eXIf") or (kind == b"iTXt" and xmp):
            chunks.append(chunk)
        begin += 12 + length
    return b"".join(chunks)


def _orientation(image: Image.Image) -> int:
    """EXIF's number of the orientation; 1, upright, if it cannot be read."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF can raise anything
        return 1


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return "decompression bomb: more pixels than any photograph"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return " ".join(f"unreadable: {error}".split())[:200]
