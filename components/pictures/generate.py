"""Write a generator's images by seed and class, as one sheet or as single files."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from components.pictures.sources import AnySampler, inputs_of, labels_of, sampler_of
from progan.errors import InputError
from progan.files import atomic_folder
from progan.progress import show_progress
from progan.render import columns_for, grid, picture, picture_format, png, write_picture

TILE = 128  # about the minimum side of an image on a sheet, in pixels
FORBIDDEN = re.compile(r"""[\x00-\x1f\x7f/\\<>:"|?*]""")  # in file names of Linux, macOS or Windows
MAX_NAME = 200  # bytes of the 255 that a file's name may have


def generate(address: str, seeds: Sequence[int], label: str | None, truncation: float, out: Path) -> None:
    """Write the images of `seeds` as a sheet to the file `out`, or as single files to the folder `out`.

    It is a file if its suffix is that of a picture.

    address: see `sampler_of`. A conditional generator makes the class `label` (its name or number); None for
    all classes, one per row.
    """
    sheet = picture_format(out) is not None
    if not sheet and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists already; name a new folder, or a picture, such as {out}.png")
    sampler = sampler_of(address)
    labels = labels_of(sampler, label)
    images = _images(sampler, seeds, labels, truncation)
    if sheet:
        columns = columns_for(len(seeds), len(labels))
        write_picture(out, grid(images, 8 * max(TILE, sampler.resolution), columns))
    else:
        prefixes = [f"{name}-" for name in file_names(sampler.classes)] or [""]
        with atomic_folder(out) as partial:
            for number, image in enumerate(images):
                row, column = divmod(number, len(seeds))
                file = partial / f"{prefixes[labels[row]]}seed{seeds[column]:04d}.png"
                file.write_bytes(png(picture(image)))
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


def file_names(classes: Sequence[str]) -> list[str]:
    """Names of files for classes, whose own may hold anything; all differ, even if case does not count."""
    names = [_file_name(name) for name in classes]
    if len({name.casefold() for name in names}) == len(names):
        return names
    return [f"{label}-{name}" for label, name in enumerate(names)]


def _file_name(name: str) -> str:
    text = FORBIDDEN.sub("_", unicodedata.normalize("NFC", name)).lstrip(".")
    return text.encode(errors="replace")[:MAX_NAME].decode(errors="ignore") or "_"
