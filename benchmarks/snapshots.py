"""How long snapshots hold training up: `python benchmarks/snapshots.py cifar10-quick-cpu`.

Trains the last phase of a preset, or of params.yaml, on noise, with a snapshot every few seconds into a store
of a given bandwidth: once waiting until each is stored, once while they are stored in the background, as
training does. Prints one JSON object.
"""

import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Annotated

import progan  # isort: skip # noqa: F401 # before torch is loaded, it says how its threads wait
import numpy as np
import typer

from progan import config, presets, snapshots
from progan.config import Config
from progan.device import best_device, device_name
from progan.memory import checkpoint_bytes
from progan.snapshots import SnapshotFolder, SnapshotWriter
from progan.store import FolderStore
from progan.training import PhaseTrainer

Preset = Annotated[str | None, typer.Argument(help="A preset; params.yaml when none is given.")]
Seconds = Annotated[float, typer.Option(help="How long to train each way.")]
Interval = Annotated[float, typer.Option(help="Seconds between snapshots.")]
Bandwidth = Annotated[float, typer.Option(help="Of the store, in MB/s.")]


class Remote(FolderStore):
    """A folder that is written to at a limited rate, in bytes per second."""

    def __init__(self, root: Path, rate: float) -> None:
        super().__init__(root)
        self.rate = rate

    def write(self, name: str, content: bytes) -> None:
        time.sleep(len(content) / self.rate)
        super().write(name, content)


def last_phase_trainer(loaded: Config) -> PhaseTrainer:
    """A trainer of the last phase on noise, as if it were the first."""
    phase = dataclasses.replace(loaded.phase(loaded.last_phase), fade_kimg=0.0, stable_kimg=1e6)
    shape = (4 * phase.minibatch, loaded.network.channels, phase.resolution, phase.resolution)
    random = np.random.default_rng(0)
    labels = random.integers(0, max(loaded.network.label_size, 1), shape[0])
    images = random.integers(0, 256, shape, np.uint8)
    return PhaseTrainer(loaded, phase, images, "noise", None, best_device(), labels)


def train(trainer: PhaseTrainer, store: Remote, seconds: float, *, waiting: bool) -> dict[str, float]:
    """Train for so many seconds; the share of them that snapshots held training up, and images per second."""
    began, shown, held_up, count = time.perf_counter(), trainer.images_shown, 0.0, 0
    with SnapshotWriter(SnapshotFolder(store, trainer.phase.key, str(waiting))) as writer:
        while (elapsed := time.perf_counter() - began) < seconds:
            trainer.iterate()
            if writer.due():
                started = time.perf_counter()
                writer.start(trainer.snapshot)
                if waiting:
                    writer.wait()
                held_up += time.perf_counter() - started
                count += 1
    rate = (trainer.images_shown - shown) / elapsed
    return {"snapshots": count, "held_up": held_up / elapsed, "images_per_second": rate}


def main(
    preset: Preset = None, seconds: Seconds = 20.0, interval: Interval = 2.0, bandwidth: Bandwidth = 50.0
) -> None:
    loaded = config.parse(presets.params(preset), preset) if preset else config.load()
    snapshots.INTERVAL_SECONDS, snapshots.COPYING, snapshots.WRITING = interval, 1.0, 1.0
    trainer = last_phase_trainer(loaded)
    trainer.iterate()
    with tempfile.TemporaryDirectory() as folder:
        store = Remote(Path(folder), bandwidth * 1e6)
        ways = {
            "waiting": train(trainer, store, seconds, waiting=True),
            "in the background": train(trainer, store, seconds, waiting=False),
        }
    megabytes = checkpoint_bytes(loaded, loaded.last_phase) / 1e6
    print(json.dumps({"device": device_name(), "megabytes": megabytes, **ways}, indent=2))


if __name__ == "__main__":
    typer.run(main)
