"""Load generators from checkpoint folders, the registry or ONNX files."""

import sys
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
    """The interface of `progan.sampling.Sampler`, which an OnnxSampler has too."""

    resolution: int
    latent_size: int
    classes: list[str]

    def images(self, latents: Tensor, labels: Tensor, truncation: float = 1.0) -> Iterator[Tensor]: ...


@dataclass(frozen=True)
class Opened:
    """A generator, ready to sample from, and the facts of its checkpoint."""

    sampler: AnySampler
    facts: Mapping[str, Any]

    def labels(self, wanted: str | None) -> list[int]:
        """The label of the class `wanted`, or all labels if it is None; [0] without classes."""
        if wanted is None and self.sampler.classes:
            return list(range(len(self.sampler.classes)))
        return [label_of(wanted, self.sampler.classes)]

    def inputs(self, seeds: Sequence[int], labels: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Latents, float [N, latent_size], and labels, int64 [N]: all seeds, label after label."""
        latents = latents_of_seeds(seeds, self.sampler.latent_size).repeat(len(labels), 1)
        return latents, torch.tensor(labels).repeat_interleave(len(seeds))


def generator_of(what: str) -> Opened:
    """Open a checkpoint folder or a file in it, an .onnx file, models:/NAME@alias or models:/NAME/3.

    Raises InputError if it does not exist or is damaged, Unavailable if the registry does not answer.
    """
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
    """The generators of all finished phases of a run, lowest resolution first.

    what: a folder of checkpoint folders, such as checkpoints, or a version in the registry.
    """
    if what.startswith("models:"):
        from components.register.download import fetch_phases

        return _by_resolution(fetch_phases(what))
    found = _by_resolution([file.parent for file in Path(what).glob(f"*/{FACTS}")])
    if not found:
        raise InputError(f"{what}: no finished phases in it; name the folder of their checkpoints")
    return _of_one_run(found, what)


def _by_resolution(folders: Sequence[Path]) -> list[Opened]:
    return sorted((_opened(folder) for folder in folders), key=lambda opened: opened.sampler.resolution)


def _of_one_run(found: Sequence[Opened], what: str) -> list[Opened]:
    """The first phase and those that each started from the one before; prints which others are left out."""
    run = [found[0]]
    for phase in found[1:]:
        if phase.facts["init"] != run[-1].facts["files"][NETWORKS]:
            break
        run.append(phase)
    if others := [phase.facts["phase"] for phase in found[len(run) :]]:
        told = f"left out, as of another run than {run[-1].facts['phase']}: {', '.join(others)}"
        print(f"{what}: {told}", file=sys.stderr)
    return run


def _opened(folder: Path) -> Opened:
    checkpoint = read_checkpoint(folder, [NETWORKS])
    sampler = Sampler.load(checkpoint.facts, checkpoint.networks("ema"))
    sampler.generator.to(best_device())
    return Opened(sampler, checkpoint.facts)
