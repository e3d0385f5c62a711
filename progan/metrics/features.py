"""What a score network says of a set of images."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Features:
    """Of N images, on the CPU.

    pool: float32 [N, D], the last layer before the logits, averaged over all places.
    logits: float32 [N, classes].
    """

    pool: Tensor
    logits: Tensor
