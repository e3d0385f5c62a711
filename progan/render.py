"""Images arranged for people to look at."""

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from progan.files import atomic_file

GAP, BACKGROUND = 2, 255


def grid(images: Tensor, pixels: int) -> Image.Image:
    """A square sheet about `pixels` wide of uint8 [N, C, R, R] images, as many of them as fit.

    Each is enlarged by repeating pixels: at most 8 × 8 images, at least 2 × 2.
    """
    scale = max(pixels // 8 // images.shape[-1], 1)
    tiles = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    side = tiles.shape[1] + GAP
    columns = max(min(pixels // tiles.shape[1], math.isqrt(len(tiles))), 2)
    rows = min(columns, math.ceil(len(tiles) / columns))
    sheet = np.full((rows * side + GAP, columns * side + GAP, 3), BACKGROUND, np.uint8)
    for number, tile in enumerate(tiles[: rows * columns]):
        row, column = divmod(number, columns)
        top, left = row * side + GAP, column * side + GAP
        sheet[top : top + side - GAP, left : left + side - GAP] = tile
    return Image.fromarray(sheet)


def beside(left: Image.Image, right: Image.Image, gap: int = 24) -> Image.Image:
    """Two pictures of one height side by side."""
    sheet = Image.new("RGB", (left.width + gap + right.width, max(left.height, right.height)), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + gap, 0))
    return sheet


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_png(path: Path, image: Image.Image) -> None:
    with atomic_file(path) as partial:
        partial.write_bytes(png(image))
