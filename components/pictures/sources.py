"""Load generators from checkpoint folders, the registry or ONNX files."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from components.pictures.snapshot import is_snapshots, newest_sampler
from progan.checkpoints import FACTS, NETWORKS, Checkpoint, read_checkpoint
from progan.device import best_device
from progan.errors import InputError
from progan.sampling import Sampler, label_of, latents_of_seeds

CHECKPOINTS = "checkpoints"  # the folder of finished phases


class AnySampler(Protocol):
    """The interface of `progan.sampling.Sampler`, which an OnnxSampler has too."""

    resolution: int
    latent_size: int
    classes: list[str]
    has_styles: bool

    def images(self, latents: Tensor, labels: Tensor, truncation: float = 1.0) -> Iterator[Tensor]: ...

    def images_at(self, points: Tensor, labels: Tensor, truncation: float = 1.0) -> Iterator[Tensor]: ...

    def points(self, latents: Tensor, labels: Tensor) -> Tensor: ...


def labels_of(sampler: AnySampler, wanted: str | None) -> list[int]:
    """The label of the class `wanted`, or all labels if it is None; [0] without classes."""
    if wanted is None and sampler.classes:
        return list(range(len(sampler.classes)))
    return [label_of(wanted, sampler.classes)]


def inputs_of(sampler: AnySampler, seeds: Sequence[int], labels: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Latents and labels, as the sampler takes them: all seeds of the first label, then all of the next."""
    latents = latents_of_seeds(seeds, sampler.latent_size).repeat(len(labels), 1)
    return latents, torch.tensor(labels).repeat_interleave(len(seeds))


def sampler_of(address: str) -> AnySampler:
    """The generator in an .onnx file, in a folder of snapshots, or where `checkpoint_of` finds one."""
    if Path(address).suffix == ".onnx":
        from components.pictures.onnx_file import OnnxSampler

        return OnnxSampler(Path(address))
    if is_snapshots(Path(address)):
        return _on_best_device(newest_sampler(Path(address)))
    return on_best_device(checkpoint_of(address))


def checkpoint_of(address: str) -> Checkpoint:
    """The checkpoint at a folder, a file in it, models:/NAME@alias or models:/NAME/VERSION."""
    if address.startswith("models:"):
        from components.register.download import fetch_generator

        return read_checkpoint(fetch_generator(address), [NETWORKS])
    path = Path(address)
    folder = path.parent if path.name in (NETWORKS, FACTS) else path
    if not (folder / FACTS).is_file():
        raise InputError(
            f"{address}: no finished phase here; name its folder, such as checkpoints/r0032, one of "
            "snapshots, an .onnx file, or a version in the registry, such as models:/NAME@champion"
        )
    return read_checkpoint(folder, [NETWORKS])


def phases_of(address: str) -> list[Sampler]:
    """The generators of all finished phases of a run, lowest resolution first.

    address: a folder of checkpoint folders, such as checkpoints, or a version in the registry. After the
    lower phases in `checkpoints`, a folder of snapshots has the phase that is not finished.
    """
    if is_snapshots(Path(address)):
        newest = newest_sampler(Path(address))
        before = [each for each in phases_in(CHECKPOINTS) if each.facts.resolution < newest.resolution]
        return [*map(on_best_device, before), _on_best_device(newest)]
    if address.startswith("models:"):
        from components.register.download import fetch_phases

        return [on_best_device(phase) for phase in _by_resolution(fetch_phases(address))]
    phases = phases_in(address)
    if not phases:
        raise InputError(f"{address}: no finished phases in it; name the folder of their checkpoints")
    return [on_best_device(phase) for phase in phases]


def phases_in(folder: str) -> list[Checkpoint]:
    """The checkpoints of the phases of a run in `folder`, lowest resolution first; none if it has none."""
    phases = _by_resolution([file.parent for file in Path(folder).glob(f"*/{FACTS}")])
    return _of_one_run(phases, folder) if phases else []


def _by_resolution(folders: Sequence[Path]) -> list[Checkpoint]:
    phases = [read_checkpoint(folder, [NETWORKS]) for folder in folders]
    return sorted(phases, key=lambda phase: phase.facts.resolution)


def _of_one_run(phases: Sequence[Checkpoint], address: str) -> list[Checkpoint]:
    """The first phase and those that continue it, each from the one before; reports the others."""
    run = [phases[0]]
    for phase in phases[1:]:
        if phase.facts.init != run[-1].digest:
            break
        run.append(phase)
    if others := [phase.facts.phase for phase in phases[len(run) :]]:
        left_out = f"left out, from another run than {run[-1].facts.phase}: {', '.join(others)}"
        print(f"{address}: {left_out}", file=sys.stderr)
    return run


def on_best_device(checkpoint: Checkpoint) -> Sampler:
    """The averaged generator of a checkpoint, on the GPU if there is one."""
    return _on_best_device(Sampler.of(checkpoint))


def _on_best_device(sampler: Sampler) -> Sampler:
    sampler.generator.to(best_device())
    return sampler
