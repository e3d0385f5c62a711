"""Train one phase: from the checkpoint before it to its own."""

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch import Tensor

from components.train.machine import machine_readings
from progan.checkpoints import DatasetFacts, read_checkpoint
from progan.config import Config
from progan.cost import images_after
from progan.dataset.reader import load_manifest, load_training_set
from progan.device import best_device
from progan.distributed import Ranks
from progan.files import atomic_folder
from progan.history import History
from progan.metrics import swd
from progan.networks import Generator
from progan.progress import duration, show_progress
from progan.render import grid, images_across, png
from progan.sampling import generate, seeded_inputs
from progan.snapshots import SnapshotFolder
from progan.store import Store
from progan.training import Hooks, PhaseTrainer

CURVE_IMAGES = 256  # images on each side of the SWD that is measured during training
PICTURE_PIXELS, PICTURE_IMAGES = 512, 64  # about how wide pictures over training are; at most so many images


def train(
    config: Config,
    key: str,
    identity: str,
    dataset: Path,
    init: Path | None,
    snapshots: Store,
    checkpoint: Path,
    history: Path,
    grids: Path,
    ranks: Ranks = Ranks(),
) -> None:
    """Train the phase `key` from the checkpoint `init`, or on from its newest snapshot if there is one.

    Writes the folder `checkpoint` and pictures over training, `<kimg>.png` in the folder `grids` (both
    the same bytes for the same inputs on the same machine), and the CSV file `history`, which also holds
    times and what the machine said of itself. Raises Interrupted, with all saved, on SIGTERM or SIGINT,
    and Unavailable when it cannot be known whether there are snapshots.
    Of several ranks, all of which call this, the first alone measures and writes.
    """
    phase = config.phase(key)
    manifest = load_manifest(dataset)
    images, labels = load_training_set(dataset, phase.resolution, config.network.label_size)
    digest = manifest.level(phase.resolution).digest
    before = None if init is None else read_checkpoint(init)
    trainer = PhaseTrainer(config, phase, images, identity, before, best_device(), labels, ranks)
    folder = SnapshotFolder(snapshots, key, trainer.identity)
    if not ranks.is_first:
        _follow(trainer, folder)
        return
    measure, picture = _swd_against(images, labels, config), _picture_of(phase.resolution, config)
    with snapshots.alone(folder.name, f"is training {key}"):
        with _stop_signals() as stopped, show_progress(key, "images", images_after(config, key)) as advance:
            trainer.train(folder, Hooks(advance, measure, stopped, picture, machine_readings(ranks.size)))
        History(tuple(trainer.history)).write(history)
        _write_pictures(grids, trainer.pictures)
        classes = tuple(label.name for label in manifest.classes)
        trainer.write_checkpoint(checkpoint, DatasetFacts(manifest.name, manifest.images, digest, classes))
    print(f"{checkpoint}: {key} trained, {trainer.images_shown / 1000:g} kimg in {duration(trainer.seconds)}")


def _follow(trainer: PhaseTrainer, snapshots: SnapshotFolder) -> None:
    """Train as a rank that is not the first."""
    with _stop_signals() as stopped:
        trainer.train(snapshots, Hooks(lambda done, total: None, lambda generator, alpha: math.nan, stopped))


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


def _picture_of(resolution: int, config: Config) -> Callable[[Generator, Tensor | None], bytes]:
    """A function that draws, as a PNG, what a generator makes of the same latents in every phase.

    A conditional generator draws a row of each class.
    """
    columns, classes = images_across(resolution, PICTURE_PIXELS), config.network.label_size
    labels = torch.arange(PICTURE_IMAGES) // columns % classes if classes else None
    inputs = seeded_inputs(PICTURE_IMAGES, config.network, config.training.seed, labels)[: columns**2]

    def picture(generator: Generator, alpha: Tensor | None) -> bytes:
        return png(grid(torch.cat(list(generate(generator, inputs, alpha))), PICTURE_PIXELS, columns))

    return picture


def _write_pictures(folder: Path, pictures: dict[str, bytes]) -> None:
    with atomic_folder(folder) as beside:
        for kimg, content in pictures.items():
            (beside / f"{kimg}.png").write_bytes(content)


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
