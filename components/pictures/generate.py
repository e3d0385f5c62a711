"""Write a generator's images by seed and class, as one sheet or as single files."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from components.pictures.sources import Opened, generator_of
from progan.errors import InputError
from progan.files import atomic_folder
from progan.progress import show_progress
from progan.render import columns_for, grid, picture, png, write_png

TILE = 128  # about the minimum side of an image on a sheet, in pixels


def generate(what: str, seeds: Sequence[int], label: str | None, truncation: float, out: Path) -> None:
    """Write the images of `seeds` as a sheet to the PNG file `out`, or as single files to the folder `out`.

    what: see `generator_of`. label: the class, by name or number, of a conditional generator; None for all
    classes, one per row. truncation: from 0, the centre, to 1, none.
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
        with atomic_folder(out) as partial:
            for number, image in enumerate(images):
                row, column = divmod(number, len(seeds))
                names = opened.sampler.classes
                prefix = f"{names[labels[row]]}-" if names else ""
                (partial / f"{prefix}seed{seeds[column]:04d}.png").write_bytes(png(picture(image)))
    print(f"{out}: {len(images)} {'images' if sheet else 'files'} of {what}")


def _images(opened: Opened, seeds: Sequence[int], labels: list[int], truncation: float) -> Tensor:
    """Images of all seeds for the first label, then for the next: uint8 [labels · seeds, C, R, R]."""
    latents, all_labels = opened.inputs(seeds, labels)
    images: list[Tensor] = []
    with show_progress("generate", "images") as advance:
        advance(0, len(latents))
        for minibatch in opened.sampler.images(latents, all_labels, truncation):
            images += minibatch
            advance(len(images), len(latents))
    return torch.stack(images)
