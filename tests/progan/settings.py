"""Settings under which made-up phases of 8 px are trained."""

import dataclasses

from tests import architectures

SETTINGS = {
    "default": {},
    "joint update and labels": {"label_size": 5, "update": "joint"},
    "least squares": {"loss": "least-squares", "loss_parameters": {}},
    "R1 and labels": {"loss": "non-saturating", "loss_parameters": {"r1": 10.0}, "label_size": 5},
    "hinge, three critic steps": {"loss": "hinge", "loss_parameters": {}, "critic_steps": 3},
    "StyleGAN": {
        "network": architectures.SMALL["stylegan"],
        "loss": "non-saturating",
        "loss_parameters": {"r1": 1.0},
        "augment": ("color", "translation", "cutout"),
    },
    "StyleGAN2": {
        "network": architectures.SMALL["stylegan2"],
        "label_size": 5,
        "conditioning": "projection",
        "loss": "non-saturating",
        "loss_parameters": {"r1": 1.0, "r1_interval": 5, "path_length": 2.0, "path_length_interval": 4},
    },
    "hinge, BigGAN": {
        "network": architectures.SMALL["biggan"],
        "label_size": 5,
        "conditioning": "projection",
        "loss": "hinge",
        "loss_parameters": {},
        "critic_steps": 2,
        "discriminator_rate": 4.0,
        "orthogonal_weight": 0.001,
    },
}


def changed(config, fading, label_size=0, network=None, **training):
    """`config` with another network and other values under training, and the phase to train.

    The phase is `fading`; for a network that does not grow, one of the same length from scratch.
    """
    network = dataclasses.replace(network or config.network, label_size=label_size)
    training = dataclasses.replace(config.training, **training)
    phase, phases = fading, config.phases
    if not network.GROWS:
        length = fading.fade_kimg + fading.stable_kimg
        phase = dataclasses.replace(
            fading, init=f"data/multires/{fading.key}", fade_kimg=0, stable_kimg=length
        )
        phases = {phase.key: phase}
    return dataclasses.replace(config, network=network, training=training, phases=phases), phase
