"""What training takes of a GPU's memory, counted from the graph of one step rather than guessed."""

import torch
from torch import Tensor

from progan.config import Config
from progan.training import Models, critic_loss, draw

WORKSPACE = 1.3  # what convolutions, fragments and the CUDA context take besides: times the counted bytes …
CONTEXT_BYTES = 2 * 2**30  # … and plus this


def training_bytes(config: Config, key: str) -> int:
    """About how many bytes one GPU needs to train the phase `key`, without the images that may lie on it.

    The critic's step holds the most: its graph is kept for the gradient penalty's second backward pass.
    """
    phase, device = config.phase(key), torch.device("meta")
    models = Models.build(config, phase, None, device)
    states = [models.generator, models.discriminator, models.ema]
    fixed = sum(t.nbytes for module in states for t in module.state_dict().values())
    fixed += sum(t.nbytes for t in models.optimizer_tensors().values()) if False else 0
    kept = _KeptTensors()
    side = phase.resolution
    images = torch.empty(phase.minibatch, config.network.channels, side, side, device=device)
    with torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor):
        alpha = torch.ones((), device=device)
        loss, _ = critic_loss(models, images, draw_meta(config, phase.minibatch), alpha, config.training)
    return fixed, kept.bytes
