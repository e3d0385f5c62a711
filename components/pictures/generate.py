"""Write a generator's images by seed and class, as one sheet or as single files."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from components.pictures.sources import AnySampler, inputs_of, labels_of, sampler_of
from progan.errors import InputError
from progan.files import atomic_folder
from progan.progress import show_progress
from progan.render import columns_for, grid, picture, png, write_png

TILE = 128  # about the minimum side of an image on a sheet, in pixels


def generate(address: str, seeds: Sequence[int], label: str | None, truncation: float, out: Path) -> None:
    """Write the images of `seeds` as a sheet to the PNG file `out`, or as single files to the folder `out`.

    address: see `sampler_of`. A conditional generator makes the class `label` (its name or number); None for
    all classes, one per row.
    """
    sheet = out.suffix.lower() == ".png"
    if not sheet and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists already; name a new folder, or a .png file for a sheet")
    sampler = sampler_of(address)
    labels = labels_of(sampler, label)
    images = _images(sampler, seeds, labels, truncation)
    if sheet:
        columns = columns_for(len(seeds), len(labels))
        write_png(out, grid(images, 8 * max(TILE, sampler.resolution), columns))
    else:
        with atomic_folder(out) as partial:
            for number, image in enumerate(images):
                row, column = divmod(number, len(seeds))
                prefix = f"{sampler.classes[labels[row]]}-" if sampler.classes else ""
                (partial / f"{prefix}seed{seeds[column]:04d}.png").write_bytes(png(picture(image)))
    print(f"{out}: {len(images)} {'images' if sheet else 'files'} of {address}")


def _images(sampler: AnySampler, seeds: Sequence[int], labels: list[int], truncation: float) -> Tensor:
    """All seeds of the first label, then all of the next: uint8 [len(labels) · len(seeds), C, R, R]."""
    latents, all_labels = inputs_of(sampler, seeds, labels)
    images: list[Tensor] = []
    with show_progress("generate", "images") as advance:
        advance(0, len(latents))
        for minibatch in sampler.images(latents, all_labels, truncation):
            images += minibatch
            advance(len(images), len(latents))
    return torch.stack(images)
