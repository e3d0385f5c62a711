"""MNIST-1K: how many of 1000 triples of digits a generator produces (appendix D; Metz et al. 2016, §3.3.2).

The red, green and blue planes of an image are one digit each; together they are one of 1000 modes, which a
classifier of single digits recognises.
"""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from progan.metrics.classifier import Classifier

DIGITS, MODES = 10, 1000
TRAINING_IMAGES = 20_000  # of three planes each: as many digits as MNIST has


def planes(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Single digits from stacked ones, to train the classifier of digits on.

    images: uint8 [N, 3, R, R]; labels: int64 [N], 100 red + 10 green + blue
    → uint8 [3N, 1, R, R] and int64 [3N], 0 … 9.
    """
    digits = torch.stack([labels // 100, labels // 10 % 10, labels % 10], dim=1)
    return images.flatten(0, 1).unsqueeze(1), digits.flatten()


def classify(digits: Classifier, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """The mode of every image: int64 [n] for each minibatch, uint8 [n, 3, R, R]."""
    device = next(digits.parameters()).device
    place_values = torch.tensor([100, 10, 1])
    for batch in batches:
        with torch.inference_mode():
            guesses = digits(batch.flatten(0, 1).unsqueeze(1).to(device)).argmax(dim=1).cpu()
        yield guesses.view(-1, 3) @ place_values


def coverage(modes: Tensor) -> dict[str, float]:
    """The number of modes that occur, and KL(their distribution ‖ uniform) in nats.

    modes: int64 [N], 0 … 999. Keys: modes (1 … 1000) and modes_kl, from 0 (all modes equally often) to
    log 1000 (a single mode).
    """
    counts = torch.bincount(modes, minlength=MODES).double()
    share = counts[counts > 0] / counts.sum()
    divergence = (share * share.log()).sum().item() + math.log(MODES)
    return {"modes": float((counts > 0).sum()), "modes_kl": divergence}


def measure(digits: Classifier, batches: Iterable[Tensor], samples: int) -> dict[str, float]:
    """The mean `coverage` over all full rounds of `samples` images in `batches` (ten rounds in the paper)."""
    rounds = torch.cat(list(classify(digits, batches))).split(samples)
    coverages = [coverage(modes) for modes in rounds if len(modes) == samples]
    return {key: sum(result[key] for result in coverages) / len(coverages) for key in coverages[0]}
