"""The GPU memory and the disk space that training needs, counted from the networks and the autograd graph."""

from collections.abc import Callable

import torch
from torch import Tensor

from progan.config import Config
from progan.networks.styles import StyleGenerator
from progan.shapes import shapes_of_networks
from progan.step import operands, score_gradients

OVERHEAD = 2.1  # factor on what is counted: temporary gradients, convolution workspaces, a trial's copies
CONTEXT_BYTES = 2**30  # of the CUDA context
STATES = 4  # tensors per trained parameter: value, gradient and Adam's two moments


def training_bytes(config: Config, key: str, gpus: int) -> int:
    """Approximate memory of each of `gpus` GPUs that training the phase `key` needs, in bytes.

    The dataset is not counted. The peak is in the update whose derivatives need most: in that of the
    discriminator, with the graphs of reals, fakes and the gradient penalty, which is differentiated twice
    (Gulrajani et al. 2017); or in that of a lazy term, which has a graph of its own.
    """
    phase, network, loss = config.phase(key), config.network, config.training.adversarial
    generator, discriminator = shapes_of_networks(network, phase.resolution)
    with torch.device("meta"):
        shape = _share(config, key, gpus), network.channels, phase.resolution, phase.resolution
        images = operands(torch.empty(shape), config.training)
        latents = torch.empty(shape[0], network.latent_size + network.label_size)
        alpha = None if phase.is_first else torch.ones(())

    def critique() -> object:
        both = discriminator.features(torch.cat([images, images]), alpha).chunk(2)
        return [discriminator.end(features) for features in both]

    def penalty() -> object:
        mixed = images.clone().requires_grad_()
        return score_gradients(discriminator(mixed, alpha)[:, 0], mixed).square().sum()

    def path_length() -> object:
        assert isinstance(generator, StyleGenerator)
        styles = generator.styles(operands(latents, config.training))
        return score_gradients(generator.grow(styles, alpha), styles).square().sum()

    updates = [_saved_bytes(critique) + (_saved_bytes(penalty) if loss.gradients_at else 0)]
    if loss.lazy_penalty:
        updates.append(_saved_bytes(penalty))
    if loss.path_length:
        updates.append(_saved_bytes(path_length))
    parameters = STATES * (_bytes(generator) + _bytes(discriminator)) + _bytes(generator)
    return round(OVERHEAD * (parameters + max(updates))) + CONTEXT_BYTES


def _saved_bytes(compute: Callable[[], object]) -> int:
    """What autograd holds while the result of `compute` lives; each storage counts once."""
    saved: dict[int, torch.UntypedStorage] = {}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[id(storage)] = storage
        return tensor

    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        _ = compute()
    return sum(storage.nbytes() for storage in saved.values())


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
