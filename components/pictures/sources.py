"""Where generators come from: checkpoint folders, the registry, ONNX files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from progan.device import best_device
from progan.errors import InputError
from progan.sampling import Sampler, label_of, latents_of_seeds
from progan.snapshots import FACTS, NETWORKS, read_checkpoint


class AnySampler(Protocol):
    """A `progan.sampling.Sampler`, or what answers like one."""

    resolution: int
    latent_size: int
    classes: list[str]

    def images(self, latents: Tensor, labels: Tensor, truncation: float = 1.0) -> Iterator[Tensor]: ...


@dataclass(frozen=True)
class Opened:
    """A generator that can be asked for images, and what its checkpoint says of itself."""

    sampler: AnySampler
    facts: Mapping[str, Any]

    def labels(self, wanted: str | None) -> list[int]:
        """The class `wanted`, or each of them when it is None, as labels; [0] without classes."""
        if wanted is None and self.sampler.classes:
            return list(range(len(self.sampler.classes)))
        return [label_of(wanted, self.sampler.classes)]

    def inputs(self, seeds: Sequence[int], labels: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Latents and labels, as a sampler takes them: all seeds of the first label, then all of the next."""
        latents = latents_of_seeds(seeds, self.sampler.latent_size).repeat(len(labels), 1)
        return latents, torch.tensor(labels).repeat_interleave(len(seeds))


def generator_of(what: str) -> Opened:
    """Open a checkpoint folder or a file in it, an .onnx file, models:/NAME@alias or models:/NAME/3."""
    if what.startswith("models:"):
        from components.register.download import fetch_generator

        return _opened(fetch_generator(what))
    path = Path(what)
    if path.suffix == ".onnx":
        from components.pictures.onnx_file import OnnxSampler

        sampler = OnnxSampler(path)
        return Opened(sampler, sampler.facts)
    folder = path.parent if path.name in (NETWORKS, FACTS) else path
    if not (folder / FACTS).is_file():
        raise InputError(
            f"{what}: no finished phase here; name its folder, such as checkpoints/r0032, an .onnx file, or "
            "a version in the registry, such as models:/NAME@champion"
        )
    return _opened(folder)


def phases_of(what: str) -> list[Opened]:
    """The generators of all finished phases, the smallest first.

    what: a folder of checkpoint folders, such as checkpoints, or a version in the registry.
    """
    if what.startswith("models:"):
        from components.register.download import fetch_phases

        folders = fetch_phases(what)
    else:
        folders = [file.parent for file in Path(what).glob(f"*/{FACTS}")]
    if not folders:
        raise InputError(f"{what}: no finished phases in it; name the folder of their checkpoints")
    return sorted((_opened(folder) for folder in folders), key=lambda opened: opened.sampler.resolution)


def _opened(folder: Path) -> Opened:
    checkpoint = read_checkpoint(folder, [NETWORKS])
    sampler = Sampler.load(checkpoint.facts, checkpoint.networks("ema"))
    sampler.generator.to(best_device())
    return Opened(sampler, checkpoint.facts)
