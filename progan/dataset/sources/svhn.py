"""Source `svhn`: 73,257 street-view house numbers of 32 px (format 2, the training images), by digit."""

from pathlib import Path

import numpy as np

from progan.config import DatasetConfig
from progan.dataset.sources.arrays import ArraySource
from progan.dataset.sources.originals import Published


def open_svhn(config: DatasetConfig, scratch: Path) -> ArraySource:
    """The images in the file's order. The digit 0, class 10 in the file, is class 0."""
    from torchvision.datasets import SVHN

    url, name, md5 = SVHN.split_list["train"]

    def read(folder: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        training = SVHN(folder, split="train")  # data: [N,3,32,32]
        return training.data.transpose(0, 2, 3, 1), training.labels, tuple("0123456789")

    return ArraySource.open(config, scratch, {name: Published(url, md5)}, read)
