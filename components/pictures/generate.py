"""Pictures by seed and class: a sheet of them, or a file each."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from components.pictures.sources import Opened, generator_of
from progan.errors import InputError
from progan.files import atomic_folder
from progan.progress import show_progress
from progan.render import columns_for, grid, picture, png, write_png

TILE = 128  # about the least side of an image on a sheet, in pixels


def generate(what: str, seeds: Sequence[int], label: str | None, truncation: float, out: Path) -> None:
    """Write the images of `seeds` to the PNG file `out`, or each to a file in the folder `out`.

    what: see `generator_of`. A conditional generator makes the class `label` (its name or number), or a row
    for each when it is None.
    """
    sheet = out.suffix.lower() == ".png"
    if not sheet and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists already; name a new folder, or a .png file for a sheet")
    opened = generator_of(what)
    labels = opened.labels(label)
    images = _images(opened, seeds, labels, truncation)
    if sheet:
        columns = columns_for(len(seeds), len(labels))
        write_png(out, grid(images, 8 * max(TILE, opened.sampler.resolution), columns))
    else:
        with atomic_folder(out) as beside:
            for number, image in enumerate(images):
                row, place = divmod(number, len(seeds))
                names = opened.sampler.classes
                kind = f"{names[labels[row]]}-" if names else ""
                (beside / f"{kind}seed{seeds[place]:04d}.png").write_bytes(png(picture(image)))
    print(f"{out}: {len(images)} {'images' if sheet else 'files'} of {what}")


def _images(opened: Opened, seeds: Sequence[int], labels: list[int], truncation: float) -> Tensor:
    """All seeds of the first label, then all of the next: uint8 [len(labels) · len(seeds), C, R, R]."""
    latents, all_labels = opened.inputs(seeds, labels)
    made: list[Tensor] = []
    with show_progress("generate", "images") as advance:
        advance(0, len(latents))
        for images in opened.sampler.images(latents, all_labels, truncation):
            made += images
            advance(len(made), len(latents))
    return torch.stack(made)
