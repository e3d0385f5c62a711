"""Decode a photograph of any kind to an upright 8-bit RGB image."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

from progan.dataset.sources.source import UnusableImage

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# The formats of files with these suffixes. Pillow knows more, but EPS, for one, would start Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_FILE_BYTES = 2**30


def is_photo(name: str) -> bool:
    """Whether a path has the suffix of a photograph and is not hidden."""
    return not is_hidden(name) and name.lower().endswith(SUFFIXES)


def is_hidden(name: str) -> bool:
    """Whether a path contains a hidden folder or file, or macOS's __MACOSX."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def decode_photo(data: bytes, upright: bool = True) -> Image.Image:
    """Decode to mode RGB: alpha over white, 16 bits scaled to 8, rotated as EXIF says if `upright`.

    Raises UnusableImage if `data` is not an image, truncated, or a decompression bomb.
    """
    if not data:
        raise UnusableImage("the file is empty")
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            warnings.simplefilter("ignore")
            image.load()
            if upright:
                ImageOps.exif_transpose(image, in_place=True)
            return to_rgb(image)
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


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return "decompression bomb: more pixels than any photograph"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return " ".join(f"unreadable: {error}".split())[:200]
