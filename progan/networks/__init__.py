"""Generators and discriminators: a file for each architecture, all of the kind that base.py describes."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from progan.networks import biggan, progan, stylegan, stylegan2
from progan.networks.base import Discriminator, Generator
from progan.operations import downsample, upsample

if TYPE_CHECKING:
    from progan.network_config import NetworkConfig

__all__ = ["Discriminator", "Generator", "build_generator", "build_networks", "fade_reals", "one_hot"]

ARCHITECTURES: dict[str, tuple[type[Generator], type[Discriminator]]] = {
    "progan": (progan.Generator, progan.Discriminator),
    "stylegan": (stylegan.Generator, stylegan.Discriminator),
    "stylegan2": (stylegan2.Generator, stylegan2.Discriminator),
    "biggan": (biggan.Generator, biggan.Discriminator),
}


def build_networks(network: "NetworkConfig", resolution: int) -> tuple[Generator, Discriminator]:
    """New networks for a phase at `resolution`, with random weights."""
    generator, discriminator = ARCHITECTURES[network.architecture]
    return generator(network, resolution), discriminator(network, resolution)


def build_generator(network: "NetworkConfig", resolution: int) -> Generator:
    """A new generator for a phase at `resolution`, with random weights."""
    generator, _ = ARCHITECTURES[network.architecture]
    return generator(network, resolution)


def fade_reals(images: Tensor, alpha: Tensor | None) -> Tensor:
    """Fade real images as the networks are faded: between half resolution and full (as in the authors' code).

    images: float [N, C, H, W] → the same shape.
    """
    if alpha is None:
        return images
    return torch.lerp(upsample(downsample(images)), images, alpha)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """One-hot labels, an input of the generator: int64 [N], 0 … `classes` - 1 → float [N, classes]."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)).to(torch.get_default_dtype())
