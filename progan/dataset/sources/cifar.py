"""Sources `cifar10` and `cifar100`: 50,000 photographs of 32 px in 10 classes, or in 100 (the fine ones).

The files are pickles, which could execute anything when they are loaded. All of them are therefore compared
with their published MD5s before torchvision, which compares again, loads a copy: nothing but what the authors
of CIFAR published is ever unpickled.
"""

from pathlib import Path
from typing import Any

from progan.config import DatasetConfig
from progan.dataset.sources.arrays import ArraySource
from progan.dataset.sources.originals import Published


def open_cifar(config: DatasetConfig, scratch: Path) -> ArraySource:
    """The training images, in the order of the batches, read by torchvision, which needs the others too."""
    from torchvision.datasets import CIFAR10, CIFAR100

    dataset = {"cifar10": CIFAR10, "cifar100": CIFAR100}[config.source]
    files = [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], dataset.meta["md5"])]
    published = {f"{dataset.base_folder}/{name}": Published(dataset.url, md5) for name, md5 in files}

    def read(folder: Path) -> tuple[Any, Any, Any]:
        training = dataset(folder, train=True)
        return training.data, training.targets, training.classes

    return ArraySource.open(config, scratch, published, read)
