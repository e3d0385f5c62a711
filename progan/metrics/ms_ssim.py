"""Multi-scale structural similarity: high values between generated images show a lack of variation.

Wang, Simoncelli and Bovik 2003, "Multi-scale structural similarity for image quality assessment", in the
variant that Odena et al. 2017 and Karras et al. 2018 (table 1) report: the filter shrinks with the image
and only windows inside it count, so that images below 176 px can be measured too.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
FILTER_SIZE = 11
FILTER_SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2
VALUES_AT_ONCE = 2**22  # of the pairs' first images; about a dozen float64 arrays of this size exist at once


def ms_ssim(first: Tensor, second: Tensor) -> Tensor:
    """Similarity of `first[n]` and `second[n]`: float64 [N], 0 (nothing in common) to 1 (the same image).

    first, second: uint8 [N, C, H, W], C 1 or 3, on one device; a grey image scores as its RGB copy does.
    There are five scales, each half the size of the previous one. The result is the product of the contrast
    terms of the first four and the full SSIM of the fifth, each to the power of its weight; negative terms
    count as 0.

    Images below 16 px have fewer scales, down to 1 px (4 px: 4, 2, 1); the weights of these are divided by
    their sum, so that the exponents add up to 1.
    """
    x, y = first.double(), second.double()
    weights = _scale_weights(min(first.shape[2:]))
    product = torch.ones(len(first), dtype=torch.float64, device=first.device)
    for scale, weight in enumerate(weights):
        if scale > 0:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        ssim, contrast = _similarity(x, y)
        term = ssim if scale == len(weights) - 1 else contrast
        product *= term.clamp(min=0) ** weight
    return product


def mean_ms_ssim(batches: Iterable[Tensor]) -> float:
    """Mean `ms_ssim` over the pairs (0, 1), (2, 3), … within each minibatch; lower means more variation.

    batches: uint8 [2K, C, H, W].
    """
    scores = []
    for images in batches:
        pairs_at_once = max(1, VALUES_AT_ONCE // images[0].numel())
        scores += [ms_ssim(pairs[::2], pairs[1::2]) for pairs in images.split(2 * pairs_at_once)]
    return torch.cat(scores).mean().item()


def _scale_weights(side: int) -> tuple[float, ...]:
    scales = min(len(SCALE_WEIGHTS), side.bit_length())  # side, side / 2, … 1
    if scales == len(SCALE_WEIGHTS):
        return SCALE_WEIGHTS
    weights = SCALE_WEIGHTS[:scales]
    return tuple(weight / sum(weights) for weight in weights)


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure term, averaged over each image: float64 [N] both."""
    window = _gaussian(min(FILTER_SIZE, *x.shape[2:]), x.device)
    mean_x, mean_y = _blur(x, window), _blur(y, window)
    variance_x = _blur(x * x, window) - mean_x**2
    variance_y = _blur(y * y, window) - mean_y**2
    covariance = _blur(x * y, window) - mean_x * mean_y
    contrast = (2 * covariance + C2) / (variance_x + variance_y + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return (luminance * contrast).mean(dim=(1, 2, 3)), contrast.mean(dim=(1, 2, 3))


def _gaussian(size: int, device: torch.device) -> Tensor:
    """One axis of the separable window: float64 [size], summing to 1; sigma shrinks with the size."""
    sigma = FILTER_SIGMA * size / FILTER_SIZE
    positions = torch.arange(size, dtype=torch.float64, device=device) - (size - 1) / 2
    weights = torch.exp(-(positions**2) / (2 * sigma**2))
    return weights / weights.sum()


def _blur(images: Tensor, window: Tensor) -> Tensor:
    """Windowed means of [N, C, H, W] where the window fits: [N, C, H - size + 1, W - size + 1]."""
    planes = images.flatten(0, 1)[:, None]
    blurred = F.conv2d(F.conv2d(planes, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return blurred.unflatten(0, images.shape[:2])[:, :, 0]
