"""The output of a score network for a set of images."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Features:
    """The output for N images, on the CPU.

    pool: float32 [N, D], the last layer before the logits, averaged over all positions.
    logits: float32 [N, classes].
    """

    pool: Tensor
    logits: Tensor
