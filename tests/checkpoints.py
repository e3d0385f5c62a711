"""Checkpoints of phases that nobody trained: random networks, whole folders."""

import torch

from progan import config
from progan.checkpoints import CheckpointFacts, DatasetFacts, Versions, prefixed, write_checkpoint
from progan.files import digest_of, sha256_file
from progan.networks import build_networks
from progan.resolutions import phase_key, resolution_of
from progan.sampling import settled
from tests.conftest import shrunk_params

DATASET = DatasetFacts("noise", 64, "data")

FORMS = {  # of networks, that differ in every layer of the generator
    "final": {},
    "fused": {"fused_scaling": True, "latent_norm": "with-labels", "label_size": 3},
    "row a": {
        "generator_norm": "batch",
        "generator_activation": "relu",
        "output": "tanh",
        "latent_norm": "none",
        "equalized_lr": False,
        "convs_per_block": 1,
        "channels": 1,
    },
}


def facts_of(key="r0004", **others):
    """What a checkpoint of 1.5 kimg of the phase `key` says, or something else."""
    facts = {
        "phase": key,
        "resolution": resolution_of(key),
        "images_shown": 1500,
        "kimg": 1.5,
        "identity": "f" * 64,
        "init": None,
        "network": config.parse(shrunk_params(), "params.yaml").network,
        "training": None,
        "schedule": None,
        "dataset": DATASET,
        "versions": Versions.here(),
    }
    return CheckpointFacts(**facts | others)


def write_made_checkpoint(folder, network, resolution, classes=(), seed=0, init=None):
    """Write a checkpoint folder; returns the averaged generator in it, ready to make images.

    init: the folder of the phase that it says it began with.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator, discriminator = build_networks(network, resolution)
        with torch.no_grad():
            for parameter in generator.parameters():  # biases too, and on a scale that fills [-1, 1]
                parameter.copy_(torch.randn_like(parameter) * (0.3 if parameter.ndim == 1 else 1.0))
            generator(torch.randn(16, network.latent_size + network.label_size))  # running statistics
    settled(generator.requires_grad_(False).eval())
    networks = {
        **prefixed("generator", generator.state_dict()),
        **prefixed("discriminator", discriminator.state_dict()),
        **prefixed("ema", generator.state_dict()),
    }
    facts = facts_of(
        phase_key(resolution),
        network=network,
        dataset=DatasetFacts("made", None, "made", tuple(classes)),
        identity=digest_of([resolution, seed]),
        init=sha256_file(init / "networks.safetensors") if init else None,
    )
    write_checkpoint(folder, facts, networks, {"nothing": torch.zeros(1)})
    return generator


def image_of(generator, seed, label=None):
    """What `generator` makes of a seed, by a formulation of its own: uint8 [R, R, C] in a numpy array."""
    network = generator.network
    latents = torch.randn(1, network.latent_size, generator=torch.Generator().manual_seed(seed))
    one_hot = torch.tensor([[float(label == other) for other in range(network.label_size)]])
    with torch.no_grad():
        image = generator(torch.cat([latents, one_hot], 1))[0].permute(1, 2, 0)
    return (image * 127.5 + 127.5).round().clamp(0, 255).numpy().astype("uint8")
