"""Images per second of the training step, for each phase of params.yaml: `python benchmarks/train_step.py`.

Prints one JSON object. Compare figures of one run with each other: machines are shared and noisy.
"""

import dataclasses
import json
import platform
import time
from typing import Annotated

import numpy as np
import torch
import typer

from progan import config
from progan.config import Config, PhaseConfig
from progan.device import best_device
from progan.training import PhaseTrainer


def images_per_second(loaded: Config, phase: PhaseConfig, seconds: float) -> float:
    """Train on noise for so many seconds, after three iterations to warm up."""
    shape = (4 * phase.minibatch, loaded.network.channels, phase.resolution, phase.resolution)
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, shape, np.uint8)
    labels = random.integers(0, max(loaded.network.label_size, 1), len(noise))
    trainer = PhaseTrainer(loaded, phase, noise, "noise", None, best_device(), labels)
    for _ in range(3):
        trainer.iterate()
    _wait()
    began, shown = time.perf_counter(), trainer.images_shown
    while time.perf_counter() - began < seconds:
        trainer.iterate()
        _wait()
    return (trainer.images_shown - shown) / (time.perf_counter() - began)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main(seconds: Annotated[float, typer.Option(help="How long to measure each case.")] = 5.0) -> None:
    loaded = config.load()
    rates = {}
    for key, phase in loaded.phases.items():
        stable = dataclasses.replace(phase, fade_kimg=0.0, stable_kimg=1e6)
        fading = dataclasses.replace(phase, fade_kimg=1e6, stable_kimg=0.0)
        rates[key] = {"stable": images_per_second(loaded, stable, seconds)}
        if not phase.is_first:
            rates[key]["fading"] = images_per_second(loaded, fading, seconds)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU"
    facts = {"device": device, "threads": torch.get_num_threads(), "torch": torch.__version__}
    print(json.dumps({**facts, "images_per_second": rates}, indent=2))


if __name__ == "__main__":
    typer.run(main)
