"""Load generators from checkpoint folders, the registry or ONNX files."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from progan.checkpoints import FACTS, NETWORKS, Checkpoint, read_checkpoint
from progan.device import best_device
from progan.errors import InputError
from progan.sampling import Sampler, label_of, latents_of_seeds


class AnySampler(Protocol):
    """The interface of `progan.sampling.Sampler`, which an OnnxSampler has too."""

    resolution: int
    latent_size: int
    classes: list[str]

    def images(self, latents: Tensor, labels: Tensor, truncation: float = 1.0) -> Iterator[Tensor]: ...


def labels_of(sampler: AnySampler, wanted: str | None) -> list[int]:
    """The class `wanted`, or each of them when it is None, as labels; [0] without classes."""
    if wanted is None and sampler.classes:
        return list(range(len(sampler.classes)))
    return [label_of(wanted, sampler.classes)]


def inputs_of(sampler: AnySampler, seeds: Sequence[int], labels: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Latents and labels, as the sampler takes them: all seeds of the first label, then all of the next."""
    latents = latents_of_seeds(seeds, sampler.latent_size).repeat(len(labels), 1)
    return latents, torch.tensor(labels).repeat_interleave(len(seeds))


def sampler_of(what: str) -> AnySampler:
    """Open an .onnx file, or what `checkpoint_of` takes."""
    if Path(what).suffix == ".onnx":
        from components.pictures.onnx_file import OnnxSampler

        return OnnxSampler(Path(what))
    return _opened(checkpoint_of(what))


def checkpoint_of(what: str) -> Checkpoint:
    """The checkpoint in a folder, or of a file in it, or that of models:/NAME@alias or models:/NAME/3."""
    if what.startswith("models:"):
        from components.register.download import fetch_generator

        return read_checkpoint(fetch_generator(what), [NETWORKS])
    path = Path(what)
    folder = path.parent if path.name in (NETWORKS, FACTS) else path
    if not (folder / FACTS).is_file():
        raise InputError(
            f"{what}: no finished phase here; name its folder, such as checkpoints/r0032, an .onnx file, or "
            "a version in the registry, such as models:/NAME@champion"
        )
    return read_checkpoint(folder, [NETWORKS])


def phases_of(what: str) -> list[Sampler]:
    """The generators of all finished phases of a run, the smallest first.

    what: a folder of checkpoint folders, such as checkpoints, or a version in the registry.
    """
    if what.startswith("models:"):
        from components.register.download import fetch_phases

        return [_opened(phase) for phase in _by_resolution(fetch_phases(what))]
    found = _by_resolution([file.parent for file in Path(what).glob(f"*/{FACTS}")])
    if not found:
        raise InputError(f"{what}: no finished phases in it; name the folder of their checkpoints")
    return [_opened(phase) for phase in _of_one_run(found, what)]


def _by_resolution(folders: Sequence[Path]) -> list[Checkpoint]:
    phases = [read_checkpoint(folder, [NETWORKS]) for folder in folders]
    return sorted(phases, key=lambda phase: phase.facts.resolution)


def _of_one_run(found: Sequence[Checkpoint], what: str) -> list[Checkpoint]:
    """The first, and those after it that each began with the one before; says which others are left out."""
    run = [found[0]]
    for phase in found[1:]:
        if phase.facts.init != run[-1].digest:
            break
        run.append(phase)
    if others := [phase.facts.phase for phase in found[len(run) :]]:
        told = f"left out, as of another run than {run[-1].facts.phase}: {', '.join(others)}"
        print(f"{what}: {told}", file=sys.stderr)
    return run


def _opened(checkpoint: Checkpoint) -> Sampler:
    sampler = Sampler.of(checkpoint)
    sampler.generator.to(best_device())
    return sampler
