"""What growing saves: `python benchmarks/progressive_vs_full.py cifar10`.

Measures the step of every phase of a preset (or, without a name, of params.yaml), fading and stable, and adds
up the hours to show all its images with growing, and with the last phase's networks from the first image on
(paper, section 6.5: two to six times as long). Prints one JSON object.
"""

import dataclasses
import json
import platform
from typing import Annotated, Any

import torch
import typer
from train_step import images_per_second

from progan import config, presets
from progan.config import Config, PhaseConfig
from progan.phases import Schedule


def measured(loaded: Config, phase: PhaseConfig, seconds: float) -> dict[str, Any]:
    """A phase's images, images a second and hours."""
    stable = dataclasses.replace(phase, fade_kimg=0.0, stable_kimg=1e6)
    fading = dataclasses.replace(phase, fade_kimg=1e6, stable_kimg=0.0)
    schedule = Schedule(phase)
    rate = images_per_second(loaded, stable, seconds)
    hours = (schedule.total_images - schedule.fade_images) / rate / 3600
    result = {"images": schedule.total_images, "stable_images_per_second": rate}
    if schedule.fade_images:
        result["fading_images_per_second"] = images_per_second(loaded, fading, seconds)
        hours += schedule.fade_images / result["fading_images_per_second"] / 3600
    return result | {"hours": hours}


def main(
    preset: Annotated[str | None, typer.Argument(help="A preset; params.yaml when none is given.")] = None,
    seconds: Annotated[float, typer.Option(help="How long to measure each case.")] = 5.0,
) -> None:
    loaded = config.parse(presets.params(preset), preset) if preset else config.load()
    phases = {key: measured(loaded, phase, seconds) for key, phase in loaded.phases.items()}
    growing = sum(phase["hours"] for phase in phases.values())
    *_, last = phases.values()
    images = sum(phase["images"] for phase in phases.values())
    full = images / last["stable_images_per_second"] / 3600
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU"
    facts = {"preset": preset or "params.yaml", "device": device, "torch": torch.__version__}
    times = {"hours_growing": growing, "hours_full": full, "full_over_growing": full / growing}
    print(json.dumps({**facts, "images": images, **times, "phases": phases}, indent=2))


if __name__ == "__main__":
    typer.run(main)
