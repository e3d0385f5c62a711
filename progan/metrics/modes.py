"""MNIST-1K: how many of the 1000 triples of digits a generator makes (appendix D; Metz et al. 2016, §3.3.2).

An image's red, green and blue planes are each a digit; together they are one of 1000 modes. A classifier of
single digits says which.
"""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from progan.metrics.classifier import Classifier

DIGITS, MODES = 10, 1000
TRAINING_IMAGES = 20_000  # of three planes each, as many as MNIST has


def planes(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Single digits out of stacked ones, to train their classifier with.

    images: uint8 [N, 3, R, R]; labels: int64 [N], 100 red + 10 green + blue
    → uint8 [3N, 1, R, R] and int64 [3N], 0 … 9.
    """
    digits = torch.stack([labels // 100, labels // 10 % 10, labels % 10], dim=1)
    return images.flatten(0, 1).unsqueeze(1), digits.flatten()


def classify(digits: Classifier, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """The mode of every image: int64 [n] for each minibatch, uint8 [n, 3, R, R]."""
    device = next(digits.parameters()).device
    place = torch.tensor([100, 10, 1])
    for batch in batches:
        with torch.inference_mode():
            guesses = digits(batch.flatten(0, 1).unsqueeze(1).to(device)).argmax(dim=1).cpu()
        yield guesses.view(-1, 3) @ place


def coverage(modes: Tensor) -> dict[str, float]:
    """modes: int64 [N], 0 … 999 → how many of them occur, and KL(their distribution ‖ uniform) in nats.

    Keys: modes (0 … 1000) and modes_kl (0, all alike, to log 1000, only one).
    """
    counts = torch.bincount(modes, minlength=MODES).double()
    share = counts[counts > 0] / counts.sum()
    divergence = (share * share.log()).sum().item() + math.log(MODES)
    return {"modes": float((counts > 0).sum()), "modes_kl": divergence}


def measure(digits: Classifier, batches: Iterable[Tensor], samples: int) -> dict[str, float]:
    """The mean `coverage` over as many rounds of `samples` images as `batches` hold (the paper takes ten)."""
    rounds = torch.cat(list(classify(digits, batches))).split(samples)
    found = [coverage(some) for some in rounds if len(some) == samples]
    return {key: sum(one[key] for one in found) / len(found) for key in found[0]}
