"""What the networks and the augmentation draw in an iteration of training."""

import torch
from torch import Tensor

from progan.distributed import Ranks


class Randomness:
    """A stream of random numbers, seeded before each iteration.

    They are drawn for the whole minibatch, of which a rank takes its share, so that the same image gets the
    same ones on any number of ranks.
    """

    def __init__(self, device: torch.device, ranks: Ranks = Ranks()) -> None:
        self.generator, self.ranks = torch.Generator(device), ranks

    def seed(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def normal(self, count: int, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """From N(0, 1), for `count` images on this rank: float [count, *shape]."""
        whole = torch.empty(count * self.ranks.size, *shape, dtype=dtype, device=self.generator.device)
        return self.ranks.share(whole.normal_(generator=self.generator))

    def uniform(self, count: int, *shape: int) -> Tensor:
        """From [0, 1), for `count` images on this rank: float [count, *shape]."""
        whole = torch.empty(count * self.ranks.size, *shape, device=self.generator.device)
        return self.ranks.share(whole.uniform_(generator=self.generator))
