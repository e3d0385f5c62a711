"""Pictures out of a finished phase: a sheet of them, or a file each."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from progan.device import best_device
from progan.errors import InputError
from progan.files import atomic_folder
from progan.models import load_generator
from progan.networks import one_hot
from progan.render import grid, picture, png, write_png
from progan.sampling import generate as run_generator
from progan.sampling import latents_of_seeds
from progan.snapshots import Checkpoint, read_checkpoint

TILE = 128  # about the least side of an image on a sheet, in pixels


def generate(checkpoint: Path, seeds: Sequence[int], label: str | None, out: Path) -> None:
    """Write the images of `seeds` to the PNG file `out`, or each to a file in the folder `out`.

    A conditional generator makes the class `label` (its name or number), or a row for each when it is None.
    """
    finished = read_checkpoint(checkpoint)
    generator = load_generator(finished).to(best_device())
    names = class_names(finished)
    labels = _labels(names, label, checkpoint)
    latents = latents_of_seeds(seeds, generator.network.latent_size)
    inputs = torch.cat(
        [torch.cat([latents, row], 1) for row in _one_hot_rows(labels, len(names), len(seeds))]
    )
    images = torch.cat(list(run_generator(generator, inputs)))
    if out.suffix.lower() == ".png":
        columns = len(seeds) if len(labels) > 1 else math.ceil(math.sqrt(len(seeds)))
        write_png(out, grid(images, 8 * max(TILE, generator.resolution), columns))
        print(f"{out}: {len(images)} images of {checkpoint}")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists already; name a new folder, or a .png file for a sheet")
    with atomic_folder(out) as beside:
        for number, image in enumerate(images):
            row, place = divmod(number, len(seeds))
            kind = f"{names[labels[row]]}-" if names else ""
            (beside / f"{kind}seed{seeds[place]:04d}.png").write_bytes(png(picture(image)))
    print(f"{out}: {len(images)} files of {checkpoint}")


def class_names(checkpoint: Checkpoint) -> list[str]:
    """The classes a conditional generator was trained with, by label; empty for any other."""
    label_size = checkpoint.facts["network"]["label_size"]
    names = checkpoint.facts["dataset"].get("classes") or []
    return names if len(names) == label_size else [str(label) for label in range(label_size)]


def parse_seeds(text: str) -> list[int]:
    """ "7", "0-15" or "1,4,8-11" as a list; InputError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"--seeds: {text}: whole numbers and ranges are expected, such as 0-15 or 1,4,8")
        seeds += range(int(first), int(last or first) + 1)
    if not 0 < len(seeds) <= 100_000 or max(seeds) >= 2**63:
        raise InputError(f"--seeds: {text}: from 1 to 100,000 of them are expected")
    return seeds


def _labels(names: list[str], wanted: str | None, checkpoint: Path) -> list[int]:
    """The rows to draw, by label; one row without a class for an unconditional generator."""
    if not names:
        if wanted is not None:
            raise InputError(f"--label: {checkpoint} was trained without labels; leave it out")
        return [0]
    if wanted is None:
        return list(range(len(names)))
    if wanted in names:
        return [names.index(wanted)]
    if wanted.isdecimal() and int(wanted) < len(names):
        return [int(wanted)]
    raise InputError(f"--label: {wanted}: no class of {checkpoint}; there are {', '.join(names)}")


def _one_hot_rows(labels: list[int], classes: int, count: int) -> list[Tensor]:
    """For each label, what is appended to `count` latents: float [count, classes]."""
    return [one_hot(torch.full((count,), label), classes) for label in labels]
