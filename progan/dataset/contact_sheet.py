"""A sheet that shows a built dataset: one image at every resolution, then images of every class."""

import textwrap
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from progan.dataset.manifest import Manifest
from progan.dataset.reader import first_images, load_manifest

TILE, GAP, MARGIN = 96, 4, 150  # pixels; the left margin holds the names of the rows
COLUMNS, ROWS = 9, 12
CANDIDATES = 512  # images, from which those of each class are taken

Row = tuple[str, list[np.ndarray]]  # name, and images uint8 [R,R,C]


def contact_sheet(root: Path) -> Image.Image:
    """Draw the sheet of the dataset in `root`. Raises InputError if it is damaged."""
    manifest = load_manifest(root)
    levels = [next(first_images(root, manifest, resolution))[0] for resolution in manifest.resolutions]
    lowest, highest = manifest.resolutions[0], manifest.resolutions[-1]
    return _draw([(f"{lowest} … {highest} px", levels), *_samples(root, manifest)])


def _samples(root: Path, manifest: Manifest) -> list[Row]:
    """A row per class if there are at most ROWS classes; otherwise rows of the first images."""
    images = first_images(root, manifest, manifest.resolutions[-1])
    if not 0 < len(manifest.classes) <= ROWS:
        samples = [pixels for pixels, _ in islice(images, COLUMNS * 6)]
        rows = [samples[begin : begin + COLUMNS] for begin in range(0, len(samples), COLUMNS)]
        return [("" if number else f"{manifest.images:,} images", row) for number, row in enumerate(rows)]
    of_class: defaultdict[int | None, list[np.ndarray]] = defaultdict(list)
    for pixels, label in islice(images, CANDIDATES):
        if len(of_class[label]) < COLUMNS:
            of_class[label].append(pixels)
    return [
        (f"{count.name} ({count.images:,})", of_class[label]) for label, count in enumerate(manifest.classes)
    ]


def _draw(rows: list[Row]) -> Image.Image:
    height = len(rows) * (TILE + GAP) + GAP
    sheet = Image.new("RGB", (MARGIN + COLUMNS * (TILE + GAP) + GAP, height), "white")
    draw, font = ImageDraw.Draw(sheet), _font(13)
    for row, (name, images) in enumerate(rows):
        top = row * (TILE + GAP) + GAP
        lines = textwrap.wrap(name.replace("+", " + "), 16)
        where = (2 * GAP, top + TILE // 2)
        draw.multiline_text(where, "\n".join(lines), "black", font, anchor="lm")
        for column, pixels in enumerate(images):
            sheet.paste(_tile(pixels), (MARGIN + column * (TILE + GAP), top))
    return sheet


def _font(size: int) -> Any:
    """matplotlib's font, if that is installed: Pillow's own has hardly a letter beyond ASCII."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        return ImageFont.load_default(size)
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)


def _tile(pixels: np.ndarray) -> Image.Image:
    """The image as a tile; a small one is enlarged by repeating pixels, so that each remains visible."""
    image = Image.fromarray(pixels.squeeze())  # [R,R] when grey
    filtering = Image.Resampling.NEAREST if image.width <= TILE else Image.Resampling.LANCZOS
    return image.resize((TILE, TILE), filtering)
