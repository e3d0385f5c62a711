"""Train one phase: from the checkpoint before it to its own."""

import csv
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from progan.config import Config
from progan.cost import images_after
from progan.dataset.reader import load_manifest, load_training_set
from progan.device import best_device
from progan.files import alone, atomic_file
from progan.metrics import swd
from progan.networks import Generator
from progan.progress import duration, show_progress
from progan.sampling import generate, seeded_inputs
from progan.snapshots import SnapshotFolder, read_checkpoint
from progan.training import Hooks, PhaseTrainer

CURVE_IMAGES = 256  # images on each side of the SWD that is measured during training


def train_phase(
    config: Config, key: str, dataset: Path, init: Path | None, snapshots: Path, out: Path, history: Path
) -> None:
    """Train the phase `key` from the checkpoint `init`, or on from its newest snapshot if there is one.

    Writes the checkpoint folder `out` (the same bytes for the same inputs on the same machine) and the
    CSV file `history` (which also holds times). Raises Interrupted, with all saved, on SIGTERM or SIGINT.
    """
    phase = config.phase(key)
    manifest = load_manifest(dataset)
    images, labels = load_training_set(dataset, phase.resolution, config.network.label_size)
    digest = manifest.level(phase.resolution).digest
    before = None if init is None else read_checkpoint(init)
    trainer = PhaseTrainer(config, phase, images, digest, before, best_device(), labels)
    folder = SnapshotFolder(snapshots, key, trainer.fingerprint)
    measure = _swd_against(images, labels, config)
    with alone(folder.folder / "lock", f"is training {key}"):
        with _stop_signals() as stopped, show_progress(key, "images", images_after(config, key)) as advance:
            trainer.train(folder, Hooks(advance, measure, stopped))
        _write_history(history, trainer.history)
        classes = [label.name for label in manifest.classes]
        facts = {"name": manifest.name, "images": manifest.images, "digest": digest, "classes": classes}
        trainer.write_checkpoint(out, facts)
    print(f"{out}: {key} trained, {trainer.images_shown / 1000:g} kimg in {duration(trainer.seconds)}")


def _swd_against(
    images: np.ndarray, labels: np.ndarray | None, config: Config
) -> Callable[[Generator, Tensor | None], float]:
    """A function that measures a generator against the first of the real `images` (uint8 [N, C, R, R]).

    A conditional generator is asked for images of the same labels (int64 [N]).
    """
    count = min(CURVE_IMAGES, len(images))
    seed = config.training.seed
    wanted = None if labels is None else torch.from_numpy(labels[:count])
    inputs = seeded_inputs(count, config.network, seed, wanted)
    reals: list[swd.Descriptors] = []

    def measure(generator: Generator, alpha: Tensor | None) -> float:
        if not reals:
            reals.append(swd.describe([torch.from_numpy(images[:count])], seed))
        fakes = swd.describe(generate(generator, inputs, alpha), seed + 1)
        return swd.sliced_wasserstein(reals[0], fakes, seed)["average"]

    return measure


def _write_history(path: Path, rows: list[dict[str, Any]]) -> None:
    with atomic_file(path) as beside, beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Ask the loop to save and stop, at its next iteration, when SIGTERM or SIGINT comes."""
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
