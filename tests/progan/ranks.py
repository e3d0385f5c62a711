"""Train made-up phases in float64; test_distributed.py runs this file in two processes."""

import dataclasses
import json
import math
import sys
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from progan.config import PhaseConfig, load
from progan.device import best_device
from progan.distributed import Ranks, joined
from progan.errors import Interrupted
from progan.snapshots import SnapshotFolder
from progan.store import FolderStore
from progan.training import Hooks, PhaseTrainer

CPU = torch.device("cpu")
FADING = PhaseConfig(8, "checkpoints/r0004", 0.056, 0.064, 8, 0.001)  # the fade ends after 7 iterations
SETTINGS = {
    "alternating": {},
    "joint, labels, noise": {
        "update": "joint",
        "label_size": 5,
        "loss": "least-squares",
        "loss_parameters": {},
    },
    "R1, three critic steps": {"loss": "non-saturating", "loss_parameters": {"r1": 2.0}, "critic_steps": 3},
    "groups of eight": {"mbstd_group_size": 8},
    "batch norm": {"generator_norm": "batch"},
}


def make_trainer(config, changes, ranks=Ranks(), device=CPU):
    """A trainer on noise, with `changes` to the network and training sections of `config`."""
    of_network = {key: changes[key] for key in changes if hasattr(config.network, key)}
    of_training = {key: changes[key] for key in changes if hasattr(config.training, key)}
    changed = dataclasses.replace(
        config,
        network=dataclasses.replace(config.network, **of_network),
        training=dataclasses.replace(config.training, **of_training),
    )
    images = np.random.default_rng(0).integers(0, 256, (64, 3, 8, 8), np.uint8)
    labels = np.arange(64) % 5 if "label_size" in changes else None
    trainer = PhaseTrainer(changed, FADING, images, "data", None, device, labels, ranks)
    if trainer.models.noise:
        trainer.models.noise.score.fill_(0.95)
    return trainer


def tensors_of(trainer):
    models = trainer.models
    return models.network_tensors() | models.optimizer_tensors() | models.running_tensors()


def hooks(stop_at=math.inf, trainer=None):
    return Hooks(
        progress=lambda done, total: None,
        measure=lambda generator, alpha: 0.0,
        stop_requested=lambda: trainer is not None and trainer.images_shown >= stop_at,
    )


def train(config, folder, ranks, stop_at=math.inf):
    """Train with `folder` as the first rank's snapshots; the last rank alone asks to stop."""
    trainer = make_trainer(config, {}, ranks)
    snapshots = SnapshotFolder(FolderStore(folder / f"of rank {ranks.rank}"), "r0008", trainer.identity)
    asks = trainer if ranks.rank == ranks.size - 1 else None
    try:
        trainer.train(snapshots, hooks(stop_at, asks))
    except Interrupted as stopped:
        print(f"rank {ranks.rank}: {stopped}", flush=True)
    return trainer


def poison(trainer):
    """Turn this rank's scores into NaN."""
    return trainer.models.discriminator.register_forward_hook(
        lambda layer, inputs, outputs: outputs * math.nan
    )


def shared_by(ranks):
    """Arrays that only the first rank makes."""

    def make():
        assert ranks.is_first
        return np.arange(12, dtype=np.uint8).reshape(3, 4), np.array([5, 6, 7])

    images, labels = ranks.share_arrays(make)
    return {"images": torch.from_numpy(images).clone(), "labels": torch.from_numpy(labels).clone()}


def main(folder, ranks):
    config = load(folder / "params.yaml")

    def save(name, trainer):
        safetensors.torch.save_file(tensors_of(trainer), folder / f"{name}.{ranks.rank}.safetensors")

    safetensors.torch.save_file(shared_by(ranks), folder / f"shared.{ranks.rank}.safetensors")
    for name, changes in SETTINGS.items():
        trainer = make_trainer(config, changes, ranks, best_device())
        for _ in range(10):
            trainer.iterate()
        save(name, trainer)
    if best_device() != CPU:
        return

    trainer = make_trainer(config, {}, ranks)
    trainer.iterate()
    save("before poison", trainer)
    handle = poison(trainer) if ranks.rank == 1 else None
    trainer.iterate()
    save("after poison", trainer)
    if handle:
        handle.remove()

    save("uninterrupted", train(config, folder / "uninterrupted", ranks))
    save("stopped", train(config, folder / "interrupted", ranks, stop_at=40))
    resumed = train(config, folder / "interrupted", ranks)
    save("resumed", resumed)
    (folder / f"history.{ranks.rank}.json").write_text(json.dumps([row.columns for row in resumed.history]))


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    with joined() as ranks:
        main(Path(sys.argv[1]), ranks)
