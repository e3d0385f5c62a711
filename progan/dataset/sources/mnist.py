"""Sources `mnist` and `mnistrgb`: handwritten digits, grey or three of them as red, green and blue."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from progan.config import DatasetConfig
from progan.dataset.sources.arrays import SIDE, ArraySource, NumberedItems
from progan.dataset.sources.originals import Published
from progan.dataset.sources.source import Item, Picture
from progan.errors import InputError

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
DIGITS = tuple("0123456789")
DIGIT_SIDE = 28
RGB_IMAGES, RGB_SEED = 1_000_000, 123  # the authors' defaults


def open_mnist(config: DatasetConfig, scratch: Path) -> ArraySource:
    """The 60,000 training digits in the file's order, 28 px with a black border of 2 px (authors' code)."""
    from torchvision.datasets import MNIST

    published = {name: Published(f"{MNIST.mirrors[0]}{name}.gz") for name in (IMAGES, LABELS)}

    def read(folder: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        try:
            return *read_digits(folder), DIGITS
        except (AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"{config.path}: {IMAGES} and {LABELS}: not MNIST's, or damaged "
                f"({str(error) or 'no idx files'}); fetch {published[IMAGES].url} and the other again"
            ) from None

    return ArraySource.open(config, scratch, published, read)


def read_digits(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N,32,32,1] and the digits, int64 [N]. For other files, ValueError or an error of torchvision."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    images = read_image_file(folder / IMAGES).numpy()
    labels = read_label_file(folder / LABELS).numpy()
    if images.shape[1:] != (DIGIT_SIDE, DIGIT_SIDE):
        raise ValueError(f"images of {images.shape[2]}×{images.shape[1]} px")
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images, {len(labels)} labels")
    if not len(images) or labels.max() > 9:
        raise ValueError("labels that are not digits" if len(images) else "no images")
    black = (SIDE - DIGIT_SIDE) // 2
    return np.pad(images, ((0, 0), (black, black), (black, black)))[..., None], labels


@dataclass(frozen=True)
class MnistRgb:
    """A million colour images of three digits drawn at random; 1, 2, 3 in red, green, blue is class "123".

    The draw is the authors'; dataset.seed does not affect it, only the order (null: as drawn, like theirs).
    """

    digits: ArraySource
    drawn: np.ndarray  # int32 [N,3], indices into `digits`
    items: NumberedItems
    classes: tuple[str, ...] = tuple(f"{label:03d}" for label in range(1000))
    channels: int = 3

    @classmethod
    def open(cls, config: DatasetConfig, scratch: Path) -> "MnistRgb":
        """Draw the first dataset.max_images of the million. Raises InputError as `open_mnist`."""
        digits = open_mnist(config, scratch)
        count = min(config.max_images or RGB_IMAGES, RGB_IMAGES)
        drawn = np.random.RandomState(RGB_SEED).randint(len(digits.items), size=(count, 3))
        labels = digits.items.labels[drawn] @ np.array([100, 10, 1], np.int16)
        return cls(digits, drawn.astype(np.int32), NumberedItems(labels))

    @property
    def identity(self) -> str:
        return self.digits.identity

    def load(self, item: Item) -> Picture:
        red, green, blue = map(self.digits.pixels, self.drawn[int(item.name)])
        return Picture(np.concatenate((red, green, blue), axis=-1))
