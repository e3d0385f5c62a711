"""What training takes of a GPU's memory and of the disk, counted from networks and graph, not guessed."""

import torch
from torch import Tensor

from progan.config import Config
from progan.models import build_networks

BESIDE = 1.4  # gradients on their way, convolutions' workspaces and fragments, times what is counted …
CONTEXT_BYTES = 2**30  # … and the CUDA context
STATES = 4  # of what is trained: values, gradients and Adam's two moments


def training_bytes(config: Config, key: str, gpus: int) -> int:
    """About how many bytes of each of `gpus` training the phase `key` takes, its dataset not counted.

    The most is held while the discriminator is updated: the graph of the gradient penalty, through which
    a second backward pass goes (Gulrajani et al. 2017), and those of its reals and fakes.
    """
    phase, network = config.phase(key), config.network
    with torch.device("meta"):
        generator, discriminator = build_networks(network, phase.resolution)
        images = torch.empty(_share(config, key, gpus), network.channels, phase.resolution, phase.resolution)
        alpha = None if phase.is_first else torch.ones(())
        kept = _Kept()
        with torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor):
            mixed = images.clone().requires_grad_()
            scores = discriminator(mixed, alpha)[:, 0]
            (gradients,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
            _ = gradients.square().sum(), discriminator(images, alpha), discriminator(images, alpha)
    parameters = STATES * (_bytes(generator) + _bytes(discriminator)) + _bytes(generator)
    return round(BESIDE * (parameters + kept.bytes)) + CONTEXT_BYTES


def checkpoint_bytes(config: Config, key: str) -> int:
    """About how many bytes a checkpoint of the phase `key` has: three networks, two optimisers' moments.

    A snapshot has about as many.
    """
    with torch.device("meta"):
        generator, discriminator = build_networks(config.network, config.phase(key).resolution)
    return STATES * _bytes(generator) + (STATES - 1) * _bytes(discriminator)


def _share(config: Config, key: str, gpus: int) -> int:
    """The images of a minibatch that one GPU has: whole groups of the minibatch standard deviation."""
    share = -(-config.phase(key).minibatch // gpus)
    group = min(config.network.mbstd_group_size, share) or 1
    return -(-share // group) * group


def _bytes(module: torch.nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


class _Kept:
    """The memory that graphs keep for their backward passes: every storage once."""

    def __init__(self) -> None:
        self._storages: dict[int, torch.UntypedStorage] = {}

    def add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self._storages[id(storage)] = storage
        return tensor

    @property
    def bytes(self) -> int:
        return sum(storage.nbytes() for storage in self._storages.values())
