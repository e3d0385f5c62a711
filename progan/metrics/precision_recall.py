"""Improved precision and recall: how many fakes look real, and how much of the real variety they cover.

Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models". Each set of
images is a manifold in the space of a network's features: the union of balls, one around each image, that
reach to its k-th nearest neighbour in the set.
"""

import torch
from torch import Tensor

NEIGHBOURS = 3  # k in the paper, section 2
BLOCK = 2**24  # distances in memory at once: 64 MiB


def measure(real: Tensor, fake: Tensor, device: torch.device) -> dict[str, float]:
    """Compare the features of two sets of images, float32 [N, D] and [M, D], on `device`.

    Keys: precision, the share of fakes that lie in the manifold of the reals, and recall, the share of reals
    that lie in that of the fakes: each from 0 to 1. NaN if a set is too small for k-th neighbours.
    """
    if min(len(real), len(fake)) <= NEIGHBOURS:
        return {"precision": torch.nan, "recall": torch.nan}
    centre = real.mean(dim=0)  # does not change distances, but reduces their rounding errors
    real, fake = ((features - centre).to(device) for features in (real, fake))
    return {"precision": _share_within(real, fake), "recall": _share_within(fake, real)}


def _share_within(manifold: Tensor, images: Tensor) -> float:
    """The share of `images` [M, D] in the manifold of others [N, D] (equation 1)."""
    radii = _radii(manifold)  # [N]
    rows = max(1, BLOCK // len(manifold))
    within = [(torch.cdist(block, manifold) <= radii).any(dim=1) for block in images.split(rows)]
    return torch.cat(within).double().mean().item()


def _radii(features: Tensor) -> Tensor:
    """The distance from each image [N, D] to its k-th nearest neighbour: [N]."""
    rows = max(1, BLOCK // len(features))
    nearest = [  # the first of which is the image itself
        torch.cdist(block, features).topk(NEIGHBOURS + 1, largest=False) for block in features.split(rows)
    ]
    return torch.cat([distances.values[:, -1] for distances in nearest])
