"""The GPU memory and the disk space that training needs, counted from the networks and the autograd graph."""

import torch
from torch import Tensor

from progan.config import Config
from progan.shapes import shapes_of_networks
from progan.step import operands, score_gradients

OVERHEAD = 2.1  # factor on what is counted: temporary gradients, convolution workspaces, a trial's copies
CONTEXT_BYTES = 2**30  # of the CUDA context
STATES = 4  # tensors per trained parameter: value, gradient and Adam's two moments


def training_bytes(config: Config, key: str, gpus: int) -> int:
    """Approximate memory of each of `gpus` GPUs that training the phase `key` needs, in bytes.

    The dataset is not counted. The peak is the update of the discriminator: it holds the graph of the
    gradient penalty, which is differentiated twice (Gulrajani et al. 2017), and those of reals and fakes.
    """
    phase, network = config.phase(key), config.network
    generator, discriminator = shapes_of_networks(network, phase.resolution)
    with torch.device("meta"):
        shape = _share(config, key, gpus), network.channels, phase.resolution, phase.resolution
        images = operands(torch.empty(shape), config.training)
        alpha = None if phase.is_first else torch.ones(())
        saved: dict[int, torch.UntypedStorage] = {}  # each storage counts once

        def save(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            saved[id(storage)] = storage
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
            mixed = images.clone().requires_grad_()
            gradients = score_gradients(discriminator(mixed, alpha)[:, 0], mixed)
            both = discriminator.features(torch.cat([images, images]), alpha).chunk(2)
            _ = gradients.square().sum(), [discriminator.end(features) for features in both]
    parameters = STATES * (_bytes(generator) + _bytes(discriminator)) + _bytes(generator)
    activations = sum(storage.nbytes() for storage in saved.values())
    return round(OVERHEAD * (parameters + activations)) + CONTEXT_BYTES


def checkpoint_bytes(config: Config, key: str) -> int:
    """Approximate size of a checkpoint, or a snapshot, of the phase `key`, in bytes.

    It holds three networks and the moments of two optimisers.
    """
    generator, discriminator = shapes_of_networks(config.network, config.phase(key).resolution)
    return STATES * _bytes(generator) + (STATES - 1) * _bytes(discriminator)


def _share(config: Config, key: str, gpus: int) -> int:
    """The images of a minibatch per GPU, rounded up to whole groups of the minibatch standard deviation."""
    share = -(-config.phase(key).minibatch // gpus)
    group = min(config.network.mbstd_group_size, share) or 1
    return -(-share // group) * group


def _bytes(module: torch.nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())
