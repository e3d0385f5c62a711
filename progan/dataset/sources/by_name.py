"""The sources by name, for `dataset.source` in params.yaml."""

from collections.abc import Callable
from pathlib import Path

from progan.config import DatasetConfig
from progan.dataset.sources.celeba import Celeba
from progan.dataset.sources.celeba_hq import CelebaHq
from progan.dataset.sources.celeba_hq_images import CelebaHqImages
from progan.dataset.sources.celeba_wild import CelebaWild
from progan.dataset.sources.cifar import open_cifar
from progan.dataset.sources.folder import Folder
from progan.dataset.sources.labels import refuse_list
from progan.dataset.sources.lsun import Lsun
from progan.dataset.sources.mnist import MnistRgb, open_mnist
from progan.dataset.sources.source import Source
from progan.dataset.sources.svhn import open_svhn
from progan.dataset.sources.tfrecords import TfRecords
from progan.errors import InputError, hint

# Each is called with the parameters and a scratch folder for unpacked files, and raises InputError.
Opener = Callable[[DatasetConfig, Path], Source]
SOURCES: dict[str, Opener] = {
    "celeba": Celeba.open,
    "celeba-hq": CelebaHq.open,
    "celeba-hq-images": CelebaHqImages.open,
    "celeba-wild": CelebaWild.open,
    "cifar10": open_cifar,
    "cifar100": open_cifar,
    "folder": Folder.open,
    "lsun": Lsun.open,
    "mnist": open_mnist,
    "mnistrgb": MnistRgb.open,
    "svhn": open_svhn,
    "tfrecords": TfRecords.open,
}


def open_source(config: DatasetConfig, scratch: Path) -> Source:
    """Open the source that `config` names. Raises InputError if it does not exist or its input is wrong."""
    return find_source(config)(config, scratch)


def find_source(config: DatasetConfig) -> Opener:
    """The source that `config` names. Raises InputError if there is none, or if it reads no such labels."""
    if config.source not in SOURCES:
        raise InputError(f"dataset.source: {config.source}: no such source; {hint(config.source, SOURCES)}")
    if config.source not in ("folder", "celeba-hq-images"):
        refuse_list(config)
    return SOURCES[config.source]
