"""Images per second of the training step, phase by phase: `python benchmarks/train_step.py cifar10`.

Of a preset, or of params.yaml without a name. Prints one JSON object; its `step_times` is an entry of
`measured` in pipelines/planning/step_times.yaml. Compare figures of one run with each other: machines are
shared and noisy.
"""

import dataclasses
import json
import time
from typing import Annotated, Any

import progan  # isort: skip # noqa: F401 # before torch is loaded, it says how its threads wait
import numpy as np
import torch
import typer

from progan import config, presets
from progan.config import Config, PhaseConfig
from progan.cost import iteration_flops
from progan.device import best_device, device_name
from progan.training import PhaseTrainer

Preset = Annotated[str | None, typer.Argument(help="A preset; params.yaml when none is given.")]
Seconds = Annotated[float, typer.Option(help="How long to measure each case.")]
SPREAD = 2.0  # of the entry: single runs on a machine that does other work differ by so much


def load(preset: str | None) -> Config:
    """The parameters that are measured."""
    return config.parse(presets.params(preset), preset) if preset else config.load()


def images_per_second(loaded: Config, phase: PhaseConfig, seconds: float) -> dict[str, float]:
    """Of the phase when it is stable and, but for the first, while it fades in."""
    rates = {"stable": _rate(loaded, dataclasses.replace(phase, fade_kimg=0.0, stable_kimg=1e6), seconds)}
    if not phase.is_first:
        fading = dataclasses.replace(phase, fade_kimg=1e6, stable_kimg=0.0)
        rates["fading"] = _rate(loaded, fading, seconds)
    return rates


def _rate(loaded: Config, phase: PhaseConfig, seconds: float) -> float:
    """Train on noise for so many seconds, after three iterations to warm up."""
    trainer = noise_trainer(loaded, phase)
    for _ in range(3):
        trainer.iterate()
    _wait()
    began, shown = time.perf_counter(), trainer.images_shown
    while time.perf_counter() - began < seconds:
        trainer.iterate()
        _wait()
    return (trainer.images_shown - shown) / (time.perf_counter() - began)


def noise_trainer(loaded: Config, phase: PhaseConfig) -> PhaseTrainer:
    """A trainer of the phase on four minibatches of noise, with labels if the network takes them."""
    shape = (4 * phase.minibatch, loaded.network.channels, phase.resolution, phase.resolution)
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, shape, np.uint8)
    labels = random.integers(0, max(loaded.network.label_size, 1), len(noise))
    return PhaseTrainer(loaded, phase, noise, "noise", None, best_device(), labels)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def step_times(
    loaded: Config, measured: dict[str, dict[str, float]], how: str, spread: float = SPREAD
) -> dict[str, Any]:
    """The entry for what `progan plan` estimates from: means of stable and fading."""
    rates = [
        {
            "resolution": phase.resolution,
            "minibatch": phase.minibatch,
            "megaflops": iteration_flops(loaded.network, loaded.training, phase.resolution) / 1e6,
            "images_per_second": sum(measured[key].values()) / len(measured[key]),
        }
        for key, phase in loaded.phases.items()
    ]
    precision = loaded.training.precision
    return {"device": device_name(), "precision": precision, "how": how, "spread": spread, "rates": rates}


def main(preset: Preset = None, seconds: Seconds = 5.0) -> None:
    loaded = load(preset)
    measured = {key: images_per_second(loaded, phase, seconds) for key, phase in loaded.phases.items()}
    facts = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    of = f"{preset or 'params.yaml'}, {seconds:g} s a case, torch {torch.__version__}"
    entry = step_times(loaded, measured, f"benchmarks/train_step.py for {of}")
    print(json.dumps({**facts, "images_per_second": measured, "step_times": entry}, indent=2))


if __name__ == "__main__":
    typer.run(main)
