"""Pictures out of a generator."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from progan.config import NetworkConfig
from progan.networks import Generator, one_hot

PIXELS_AT_ONCE = 2**21  # bounds memory: 256 images at 64×64, two at 1024×1024


def seeded_latents(count: int, latent_size: int, seed: int) -> Tensor:
    """Latents from N(0, I), the same on every device: float [count, latent_size]."""
    return torch.randn(count, latent_size, generator=torch.Generator().manual_seed(seed))


def latents_of_seeds(seeds: Sequence[int], latent_size: int) -> Tensor:
    """Latents from N(0, I), each from a seed of its own: float [len(seeds), latent_size]."""
    return torch.cat([seeded_latents(1, latent_size, seed) for seed in seeds])


def seeded_inputs(count: int, network: NetworkConfig, seed: int, labels: Tensor | None) -> Tensor:
    """Seeded latents and behind them one-hot `labels` (int64, beginning again where they end; None for none).

    float [count, latent_size + label_size], what a generator takes.
    """
    latents = seeded_latents(count, network.latent_size, seed)
    if labels is None:
        return latents
    return torch.cat([latents, one_hot(labels[torch.arange(count) % len(labels)], network.label_size)], 1)


def generate(generator: Generator, inputs: Tensor, alpha: Tensor | None = None) -> Iterator[Tensor]:
    """The images of `inputs` in even minibatches that fit into memory: uint8 [n, C, H, W], on the CPU.

    inputs: float [N, latent_size + label_size]. Rounded as the reference does before it measures:
    round(127.5 x + 127.5), saturating.
    """
    device = next(generator.parameters()).device
    minibatch = min(PIXELS_AT_ONCE // generator.resolution**2, 256)
    for some in inputs.split(minibatch):
        with torch.no_grad():
            yield to_uint8(generator(some.to(device), alpha)).cpu()


def to_uint8(images: Tensor) -> Tensor:
    """Float images in about [-1, 1] to uint8."""
    return (images * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
