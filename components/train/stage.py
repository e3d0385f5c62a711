"""Train one phase, from the checkpoint of the phase before to its own."""

import math
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch import Tensor

from components.train.fixed_latents import FixedLatents
from components.train.live import LiveRecord
from components.train.live_run import LiveRun
from components.train.machine import machine_readings
from progan.checkpoints import DatasetFacts, read_checkpoint
from progan.config import Config
from progan.dataset.reader import load_manifest, load_training_set
from progan.device import best_device
from progan.distributed import Ranks
from progan.files import atomic_folder
from progan.history import History
from progan.metrics import swd
from progan.networks import Generator
from progan.progress import Forecast, duration, show_progress
from progan.sampling import generate, seeded_inputs
from progan.snapshots import SnapshotFolder
from progan.store import Store
from progan.terminal import unfailing_stderr
from progan.training import Hooks, PhaseTrainer

STOP_SIGNALS = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT
CURVE_IMAGES = 256  # real and generated images each, for the SWD during training


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
    forecast: Forecast | None = None,
    ranks: Ranks = Ranks(),
) -> None:
    """Train the phase `key` from the checkpoint `init`, or from its newest snapshot if there is one.

    Writes the folder `checkpoint`, pictures over training, `<kimg>.png` in the folder `grids` (both have the
    same bytes for the same inputs on the same machine), and the CSV file `history`, which also contains times
    and readings of the machine. Raises Interrupted, after saving the state, on STOP_SIGNALS, and
    Unavailable if the store of the snapshots does not answer.
    All ranks call this; only the first one measures, shows its progress and writes.
    """
    phase = config.phase(key)
    manifest = load_manifest(dataset)
    images, labels = _training_set(dataset, phase.resolution, config, ranks)
    digest = manifest.level(phase.resolution).digest
    before = None if init is None else read_checkpoint(init)
    trainer = PhaseTrainer(config, phase, images, identity, before, best_device(), labels, ranks)
    folder = SnapshotFolder(snapshots, key, trainer.identity)
    if not ranks.is_first:
        _follow(trainer, folder)
        return
    sampler = FixedLatents(phase.resolution, config)
    measure = _swd_measure(images, labels, config)
    machine, machine_now = machine_readings(ranks.size), machine_readings(ranks.size)
    with snapshots.alone(folder.name, f"is training {key}"):
        with (
            unfailing_stderr(),
            _stop_signals() as stopped,
            show_progress(key, "images", forecast, lambda: _details(trainer)) as advance,
            LiveRun(config, key, identity, before.facts.identity if before else None, _notice) as run,
            LiveRecord(snapshots, folder.name, sampler, images, machine_now, _notice, run.send) as live,
        ):
            hooks = Hooks(advance, measure, stopped, sampler.picture, machine, _notice, live)
            trainer.train(folder, hooks)
        History(tuple(trainer.history)).write(history)
        _write_pictures(grids, trainer.pictures)
        classes = tuple(label.name for label in manifest.classes)
        trainer.write_checkpoint(checkpoint, DatasetFacts(manifest.name, manifest.images, digest, classes))
    with suppress(OSError):  # standard output may be gone after days
        kimg = trainer.images_shown / 1000
        print(f"{checkpoint}: {key} trained, {kimg:g} kimg in {duration(trainer.seconds)}", flush=True)


def _training_set(
    dataset: Path, resolution: int, config: Config, ranks: Ranks
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images and labels as `load_training_set` returns them; the first rank alone decodes them."""

    def decode() -> tuple[np.ndarray, ...]:
        images, labels = load_training_set(dataset, resolution, config.network)
        return (images,) if labels is None else (images, labels)

    images, *labels = ranks.share_arrays(decode)
    return images, labels[0] if labels else None


def _follow(trainer: PhaseTrainer, snapshots: SnapshotFolder) -> None:
    """Train as a rank other than the first."""
    with _stop_signals() as stopped:
        trainer.train(snapshots, Hooks(lambda done, total: None, lambda generator, alpha: math.nan, stopped))


def _details(trainer: PhaseTrainer) -> str:
    """What the newest row of the history says, for the line on the terminal."""
    newest = trainer.history[-1]
    swd = next((row.swd for row in reversed(trainer.history) if row.swd is not None), None)
    memory = newest.machine.gpu_memory_gib
    parts = (
        "stable" if newest.alpha == 1 else f"fading, alpha {newest.alpha:.2f}",
        "" if newest.d_loss is None else f"losses D {newest.d_loss:.3g}, G {newest.g_loss:.3g}",
        "" if swd is None else f"SWD {swd:.1f}",
        "" if memory is None else f"{memory:.1f} GiB",
    )
    return " · ".join(filter(None, parts))


def _notice(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _swd_measure(
    images: np.ndarray, labels: np.ndarray | None, config: Config
) -> Callable[[Generator, Tensor | None], float]:
    """A function that measures the SWD of a generator to the first of the real `images`, uint8 [N, C, R, R].

    A conditional generator makes images of the same labels, int64 [N].
    """
    count = min(CURVE_IMAGES, len(images))
    seed = config.training.seed
    first_labels = None if labels is None else torch.from_numpy(labels[:count])
    inputs = seeded_inputs(count, config.network, seed, first_labels)
    reals: list[swd.Descriptors] = []

    def measure(generator: Generator, alpha: Tensor | None) -> float:
        if not reals:
            reals.append(swd.describe([torch.from_numpy(images[:count])], seed))
        fakes = swd.describe(generate(generator, inputs, alpha), seed + 1)
        return swd.sliced_wasserstein(reals[0], fakes, seed)["average"]

    return measure


def _write_pictures(folder: Path, pictures: dict[str, bytes]) -> None:
    with atomic_folder(folder) as partial:
        for kimg, content in pictures.items():
            (partial / f"{kimg}.png").write_bytes(content)


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether one of STOP_SIGNALS has arrived, so that training stops."""
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)

    heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # nohup
    before = {number: signal.signal(number, remember) for number in heeded}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
