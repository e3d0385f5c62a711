"""What growing saves: `python benchmarks/progressive_vs_full.py cifar10`.

Measures the step of every phase of a preset (or, without a name, of params.yaml), fading and stable, and adds
up the hours to show all its images with growing, and with the last phase's networks from the first image on
(paper, section 6.5: two to six times as long). Prints one JSON object.
"""

import json
from importlib.metadata import version
from typing import Any

import typer
from train_step import Preset, Seconds, images_per_second, load

from progan.config import Config, PhaseConfig
from progan.device import device_name
from progan.phases import Schedule


def measured(loaded: Config, phase: PhaseConfig, seconds: float) -> dict[str, Any]:
    """A phase's images, images a second and hours."""
    schedule, rates = Schedule(phase), images_per_second(loaded, phase, seconds)
    hours = (schedule.total_images - schedule.fade_images) / rates["stable"] / 3600
    if schedule.fade_images:
        hours += schedule.fade_images / rates["fading"] / 3600
    return {"images": schedule.total_images, "images_per_second": rates, "hours": hours}


def main(preset: Preset = None, seconds: Seconds = 5.0) -> None:
    loaded = load(preset)
    phases = {key: measured(loaded, phase, seconds) for key, phase in loaded.phases.items()}
    growing = sum(phase["hours"] for phase in phases.values())
    *_, last = phases.values()
    images = sum(phase["images"] for phase in phases.values())
    full = images / last["images_per_second"]["stable"] / 3600
    facts = {"preset": preset or "params.yaml", "device": device_name(), "torch": version("torch")}
    times = {"hours_growing": growing, "hours_full": full, "full_over_growing": full / growing}
    print(json.dumps({**facts, "images": images, **times, "phases": phases}, indent=2))


if __name__ == "__main__":
    typer.run(main)
