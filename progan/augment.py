"""Differentiable augmentation of what the discriminator sees (DiffAugment, Zhao et al. 2020).

Few images suffice a discriminator to learn them by heart; augmented ones never repeat. Because fakes are
augmented too, and the generator learns through the augmentation, it does not appear in what is generated.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from progan.randomness import Randomness

SHIFT, CUT = 0.125, 0.5  # of the side: the longest translation, and the square that is cut out


def augment(images: Tensor, kinds: Sequence[str], randomness: Randomness) -> Tensor:
    """Each image with draws of its own. images: float [N, C, H, W], about [-1, 1] → the same shape."""
    for kind in kinds:
        images = AUGMENTATIONS[kind](images, randomness)
    return images


def color(images: Tensor, randomness: Randomness) -> Tensor:
    """Brightness from -½ to ½ added; then saturation × 0 to 2; then contrast × ½ to 1½."""
    brightness, saturation, contrast = randomness.uniform(len(images), 3, 1, 1, 1).to(images.dtype).unbind(1)
    images = images + (brightness - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def translation(images: Tensor, randomness: Randomness) -> Tensor:
    """Moved by up to SHIFT of the sides, with zeros behind."""
    reach = int(images.shape[2] * SHIFT + 0.5)
    down, right = (randomness.uniform(len(images), 2) * (2 * reach + 1)).long().sub(reach).unbind(1)
    return _Translate.apply(images, down, right)


def cutout(images: Tensor, randomness: Randomness) -> Tensor:
    """A square of CUT of the side, as much of it as lies in the image, replaced by zeros."""
    side = images.shape[2]
    size = int(side * CUT + 0.5)
    centers = (randomness.uniform(len(images), 2) * (side + 1 - size % 2)).long()
    offsets = torch.arange(side, device=images.device) - (centers - size // 2)[..., None]  # [N, 2, side]
    rows, columns = ((offsets >= 0) & (offsets < size)).unbind(1)
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])


AUGMENTATIONS: dict[str, Callable[[Tensor, Randomness], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}


class _Translate(Function):
    """Each image moved down and right by its own whole numbers of pixels; the transpose moves it back."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, down: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(down, right)
        return _from_pixels_before(_from_pixels_before(images, down, 2), right, 3)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        down, right = ctx.saved_tensors
        return _Translate.apply(gradient, -down, -right), None, None


def _from_pixels_before(images: Tensor, steps: Tensor, dimension: int) -> Tensor:
    """Each pixel from `steps` [N] pixels before it along the dimension, 2 or 3; zero from outside."""
    size = images.shape[dimension]
    sources = torch.arange(size, device=images.device) - steps[:, None]  # [N, size]
    view = [len(images), 1, 1, 1]
    view[dimension] = size
    inside = ((sources >= 0) & (sources < size)).view(view)
    return images.gather(dimension, sources.clamp(0, size - 1).view(view).expand_as(images)) * inside
