"""Multiplicative noise in the discriminator, which keeps least squares from collapsing."""

import math

import torch
from torch import Tensor, nn

from progan.networks import Discriminator
from progan.networks.layers import Conv
from progan.randomness import Randomness

MEMORY, LIMIT, GAIN = 0.9, 0.5, 0.2  # decay of d̂; d̂ above which there is noise; its strength


class InstanceNoise:
    """Multiplies the inputs of a discriminator's layers by noise that grows with its confidence.

    Each feature map of each image entering a 3×3 convolution or the first dense layer is multiplied by a
    draw from N(1, (s √maps)²), s = 0.2 max(0, d̂ - 0.5)², where d̂ follows d, the mean score of the fakes
    within [0, 1], as d̂ ← 0.9 d̂ + 0.1 d (paper, appendix on LSGAN; √maps as in the authors' code). A phase
    begins with d̂ = 0.
    """

    def __init__(self, discriminator: Discriminator, randomness: Randomness) -> None:
        self.randomness = randomness
        self.score = torch.zeros((), device=randomness.generator.device)  # d̂
        for name, layer in discriminator.named_modules():
            if (isinstance(layer, Conv) and layer.weight.shape[-1] == 3) or name.endswith(".dense0"):
                layer.register_forward_pre_hook(self._multiply)

    def follow(self, fake_score: Tensor) -> None:
        """Update d̂ with the mean score of a minibatch of fakes, 0-d."""
        self.score.lerp_(fake_score.clamp(0, 1), 1 - MEMORY)

    def strength(self) -> Tensor:
        """The current s, 0-d."""
        return GAIN * (self.score - LIMIT).clamp(min=0).square()

    def _multiply(self, layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        (x,) = inputs  # [N, maps, H, W]
        n, maps = x.shape[:2]
        noise = self.randomness.normal(n, maps, 1, 1, dtype=x.dtype)
        return x * (1 + self.strength() * math.sqrt(maps) * noise)
