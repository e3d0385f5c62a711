"""Sheets and frames of images."""

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from progan.errors import InputError
from progan.files import atomic_file

if TYPE_CHECKING:
    from torch import Tensor

GAP, MIDDLE = 2, 24  # pixels between images, and between sheets
BACKGROUND = 255
OPTIONS: dict[str, dict[str, Any]] = {  # of a format
    "PNG": {"optimize": True},
    "JPEG": {"quality": 95},
    "WEBP": {"quality": 95},
}


def images_across(resolution: int, pixels: int) -> int:
    """The number of images in a row of a sheet about `pixels` wide: at most 8, at least 2."""
    return max(pixels // (_enlargement(resolution, pixels) * resolution), 2)


def grid(images: "Tensor", pixels: int, columns: int | None = None) -> Image.Image:
    """A sheet about `pixels` wide of uint8 [N, C, R, R] images, each enlarged by repeating pixels.

    columns: images per row; None for a square sheet of as many images as fit.
    """
    if columns is None:
        columns = max(min(images_across(images.shape[-1], pixels), math.isqrt(len(images))), 2)
        images = images[: columns**2]
    scale = _enlargement(images.shape[-1], pixels)
    tiles = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    side = tiles.shape[1] + GAP
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * side + GAP, columns * side + GAP, 3), BACKGROUND, np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = row * side + GAP, column * side + GAP
        sheet[top : top + side - GAP, left : left + side - GAP] = tile
    return Image.fromarray(sheet)


def columns_for(count: int, classes: int) -> int:
    """Images per row: all `count` of a class; a square sheet if there is one class, or one image of each."""
    return count if min(count, classes) > 1 else math.ceil(math.sqrt(count * classes))


def frame(images: "Tensor", pixels: int, columns: int) -> np.ndarray:
    """A grid without its border, uint8 [H, W, 3]; larger than `pixels` only if the images do not fit.

    Its sides are even, as H.264 requires.
    """
    longest = max(columns, math.ceil(len(images) / columns))
    return np.asarray(grid(images, 8 * (pixels // longest), columns))[GAP:-GAP, GAP:-GAP]


def picture(image: "Tensor") -> Image.Image:
    """One image, uint8 [C, R, R], C 1 or 3, at its own size."""
    return Image.fromarray(image.permute(1, 2, 0).squeeze(2).contiguous().cpu().numpy())


def _enlargement(resolution: int, pixels: int) -> int:
    return max(pixels // 8 // resolution, 1)


def above(top: Image.Image, bottom: Image.Image) -> Image.Image:
    """Two pictures of the same width, one below the other, with a transparent gap."""
    sheet = Image.new("RGBA", (top.width, top.height + MIDDLE // 2 + bottom.height))
    sheet.paste(top, (0, 0))
    sheet.paste(bottom, (0, top.height + MIDDLE // 2))
    return sheet


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two pictures of the same size, side by side, with a white gap."""
    sheet = Image.new("RGB", (2 * left.width + MIDDLE, left.height), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + MIDDLE, 0))
    return sheet


def apart(sheet: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The two pictures that `beside` put together."""
    width, height = (sheet.width - MIDDLE) // 2, sheet.height
    return sheet.crop((0, 0, width, height)), sheet.crop((width + MIDDLE, 0, sheet.width, height))


def picture_format(path: Path) -> str | None:
    """Pillow's name of the format that the suffix of `path` stands for; None if Pillow does not write it."""
    Image.init()
    name = Image.registered_extensions().get(path.suffix.lower())
    return name if name in Image.SAVE else None


def encoded(image: Image.Image, name: str) -> bytes:
    """`image` in the format that Pillow calls `name`. Raises OSError or ValueError if it cannot hold it."""
    buffer = io.BytesIO()
    image.save(buffer, name, **OPTIONS.get(name, {}))
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    return encoded(image, "PNG")


def write_picture(path: Path, image: Image.Image) -> None:
    """Write `image` in the format of the suffix. Raises InputError if that format cannot hold it."""
    try:
        content = encoded(image, picture_format(path) or "PNG")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}; name a .png file") from None
    with atomic_file(path) as partial:
        partial.write_bytes(content)
