"""How long phases and stages take: from own runs, else from step_times.yaml, scaled by arithmetic."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import yaml

from components.score_network.stage import classifier_resolution
from pipelines import photographs
from progan.checkpoints import CheckpointFacts, read_checkpoint
from progan.config import Config, validated
from progan.cost import iteration_flops
from progan.dataset.sources.archives import open_files, required_suffix
from progan.dataset.sources.photo import is_photo
from progan.device import device_name
from progan.errors import InputError
from progan.history import History
from progan.metrics import modes
from progan.phases import Schedule
from progan.progress import Forecast
from progan.resolutions import phase_key

OWN_SPREAD = 1.3  # of a rate that a run of this project had
SPREAD_OF_SCALING = 0.15  # added per factor of two between the known rate and the estimated one
LARGEST_SPREAD = 8.0


@dataclass(frozen=True)
class Range:
    """An amount that is not known exactly: seconds, hours, money."""

    low: float
    likely: float
    high: float

    @classmethod
    def around(cls, likely: float, spread: float) -> "Range":
        return cls(likely / spread, likely, likely * spread)

    def __add__(self, other: "Range") -> "Range":
        """Both wrong in the same direction: an upper bound is the sum of upper bounds."""
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def __mul__(self, factor: float) -> "Range":
        return Range(self.low * factor, self.likely * factor, self.high * factor)


NOTHING = Range(0.0, 0.0, 0.0)


# ------------------------------------------------------------------------------------------------
# Known rates


@dataclass(frozen=True)
class Rate:
    """The rate of one training step on one device, and what decides it."""

    resolution: int
    minibatch: int
    megaflops: float  # per image
    images_per_second: float

    def distance(self, minibatch: int, megaflops: float) -> float:
        """How different another step is, in factors of two."""
        other_minibatch = abs(math.log2(minibatch / self.minibatch)) / 2
        return abs(math.log2(megaflops / self.megaflops)) + other_minibatch


@dataclass(frozen=True)
class Measured:
    """Rates of one device, and how they were measured."""

    device: str
    how: str
    spread: float
    rates: tuple[Rate, ...]
    precision: str | None = None  # training.precision; None: any, as on a CPU

    def spread_at(self, rate: Rate, minibatch: int, megaflops: float) -> float:
        """The spread of an estimate for another step from one of the rates."""
        wider = 1 + SPREAD_OF_SCALING * rate.distance(minibatch, megaflops)
        return min(self.spread * wider, LARGEST_SPREAD)


@dataclass(frozen=True)
class AnyOther:
    """The guess for a GPU that `teraflops` does not list."""

    teraflops: float
    spread: float


@dataclass(frozen=True)
class Guessed:
    """Guesses in place of measurements of GPUs."""

    spread: float
    level_milliseconds: float
    several_gpus: float
    teraflops: dict[str, float]  # in float32
    faster: dict[str, float]  # times as many, by precision
    any_other: AnyOther


@dataclass(frozen=True)
class StageTimes:
    """Rates of the stages other than `train`."""

    how: str
    spread: float
    seconds: dict[str, float]
    guessed_seconds: dict[str, float]
    images_per_second: dict[str, float]
    rebuilt_per_second: dict[str, float]
    megapixels_per_second: dict[str, float]
    evaluated_per_second: dict[int, float]
    on_gpu: float
    inception_per_second: float


@dataclass(frozen=True)
class StepTimes:
    """The content of step_times.yaml."""

    measured: tuple[Measured, ...]
    guessed: Guessed
    stages: StageTimes
    images: dict[str, int]


@cache
def step_times() -> StepTimes:
    """The project's table of times."""
    file = resources.files("pipelines.planning") / "step_times.yaml"
    return validated(StepTimes, yaml.safe_load(file.read_text(encoding="utf-8")), file.name)


def own_rates(config: Config, root: Path, device: str) -> tuple[Measured, ...]:
    """The rates of this project's finished phases, by the device that they ran on.

    device: the device of histories that name none.
    """
    rates: dict[tuple[str, str | None], list[Rate]] = {}
    for file in sorted((root / "history").glob("r*.csv")):
        history = History.read(file)
        if not history.total.seconds:
            continue
        last = history.rows[-1]
        facts = _facts_of(root / "checkpoints" / file.stem)
        network = facts.network if facts else config.network
        training = facts.training if facts and facts.training else config.training
        resolution, gpus = int(file.stem[1:]), max(1, history.total.gpus)
        rate = Rate(
            resolution,
            last.minibatch // gpus,
            iteration_flops(network, training, resolution) / 1e6,
            last.images / last.seconds / _speedup(gpus),
        )
        rates.setdefault((last.machine.device or device, training.precision), []).append(rate)
    return tuple(
        Measured(name, "own run", OWN_SPREAD, tuple(of_both), precision)
        for (name, precision), of_both in rates.items()
    )


def _facts_of(checkpoint: Path) -> CheckpointFacts | None:
    """What a checkpoint says of itself; None if it is missing or damaged."""
    try:
        return read_checkpoint(checkpoint, needed=()).facts
    except InputError:
        return None


# ------------------------------------------------------------------------------------------------
# Estimates


@dataclass(frozen=True)
class Estimate:
    """A time and its basis: "own run", "measured" or "guessed", which may be "scaled"."""

    seconds: Range
    basis: str


@dataclass(frozen=True)
class Machine:
    """The machine that a stage runs on. `device` is the name of its GPU, or "CPU"."""

    device: str
    gpus: int  # 0: a CPU


def training_time(
    config: Config, key: str, images: int, machine: Machine, own: tuple[Measured, ...]
) -> Estimate:
    """The time to show `images` images in the phase `key`. own: the rates of own runs."""
    phase, gpus = config.phase(key), max(1, machine.gpus)
    share = max(1, phase.minibatch // gpus)
    flops = iteration_flops(config.network, config.training, phase.resolution)
    precision = config.training.precision
    measured = [each for each in (*own, *step_times().measured) if each.precision in (None, precision)]
    closest = _closest(machine.device, share, flops / 1e6, measured)
    if closest is None:
        seconds = _guessed_seconds(machine.device, share, flops, phase.resolution, precision)
        return Estimate(seconds * (images / _speedup(gpus)), "guessed")
    source, rate = closest
    scale = flops / 1e6 / rate.megaflops
    spread = source.spread_at(rate, share, flops / 1e6)
    basis = "own run" if source in own else "measured"
    if spread > 1.05 * source.spread:
        basis += f", scaled from {phase_key(rate.resolution)}"
    return Estimate(Range.around(images * scale / rate.images_per_second / _speedup(gpus), spread), basis)


def forecast_here(config: Config, key: str, gpus: int) -> Forecast:
    """The likely time of the phase `key` on this machine, and of what follows: phases and all evaluations."""
    device = device_name()
    machine = Machine(device, 0 if device == "CPU" else gpus)
    try:
        own = own_rates(config, Path(), device)
    except InputError:  # a damaged history of another phase
        own = ()
    seconds = {
        phase.key: training_time(config, phase.key, Schedule(phase).total_images, machine, own).seconds.likely
        for phase in config.phases.values()
        if phase.resolution >= config.phase(key).resolution
    }
    evaluations = [
        _evaluation(config, phase.resolution, machine).seconds.likely for phase in config.phases.values()
    ]
    return Forecast(seconds[key], sum(seconds.values()) - seconds[key] + sum(evaluations))


def _speedup(gpus: int) -> float:
    """How many times as fast as one GPU several are."""
    return 1.0 if gpus == 1 else gpus * step_times().guessed.several_gpus


def _closest(
    device: str, minibatch: int, megaflops: float, measured: Sequence[Measured]
) -> tuple[Measured, Rate] | None:
    """The rate of the device from which such a step is estimated with the least spread, and its source."""
    name = _hyphenated(device)
    candidates = [
        (each, rate) for each in measured if _hyphenated(each.device) == name for rate in each.rates
    ]
    return min(candidates, key=lambda pair: pair[0].spread_at(pair[1], minibatch, megaflops), default=None)


def _hyphenated(name: str) -> str:
    """The name of a GPU as the labels of nodes spell it, with hyphens where CUDA has spaces."""
    return name.replace(" ", "-").lower()


def _guessed_seconds(device: str, minibatch: int, flops: float, resolution: int, precision: str) -> Range:
    """The seconds per image on one GPU that was not measured."""
    guess = step_times().guessed
    listed = [name for name in guess.teraflops if name.lower() in _hyphenated(device)]
    teraflops = guess.teraflops[listed[0]] if listed else guess.any_other.teraflops
    teraflops *= guess.faster.get(precision, 1.0)
    spread = guess.spread if listed else guess.any_other.spread
    levels = int(math.log2(resolution)) - 1
    launches = levels * guess.level_milliseconds / 1e3 / minibatch
    return Range.around(launches + flops / (teraflops * 1e12), spread)


def stage_time(
    stage: str, config: Config, key: str | None, images: int | None, machine: Machine
) -> Estimate | None:
    """The time of a stage other than `train`; None if it is unknown, as without the number of images.

    key: the phase to evaluate. images: the size of the dataset.
    """
    times = step_times().stages
    if stage in times.seconds:
        return Estimate(Range.around(times.seconds[stage], times.spread), "measured")
    if stage in times.guessed_seconds:
        return Estimate(Range.around(times.guessed_seconds[stage], times.spread), "guessed")
    if stage == "evaluate" and key:
        return _evaluation(config, config.phase(key).resolution, machine)
    if images is None or stage not in {*times.images_per_second, *times.megapixels_per_second}:
        return None
    pixels = images * config.dataset.resolution**2
    if stage == "score-network":
        pixels = _classifier_images(config, images) * classifier_resolution(config) ** 2
    seconds, basis = 0.0, "measured"
    if stage in times.images_per_second:
        seconds += images / times.images_per_second[stage]
    if stage == "build-dataset" and config.dataset.source in times.rebuilt_per_second:
        seconds += images / times.rebuilt_per_second[config.dataset.source]
        basis = "guessed"
    if stage in times.megapixels_per_second:
        seconds += pixels / 1e6 / times.megapixels_per_second[stage]
    return Estimate(Range.around(seconds, times.spread), basis)


def _classifier_images(config: Config, images: int) -> int:
    """The images that a classifier is trained on, in all epochs; 0 if Inception is the score network."""
    measures = config.measures
    if measures.inception_weights is not None:
        return 0
    if measures.mode_samples is not None:
        images = 3 * min(images, modes.TRAINING_IMAGES)  # each colour plane is one
    return images * measures.classifier_epochs


def _evaluation(config: Config, resolution: int, machine: Machine) -> Estimate:
    """The time to evaluate a phase, scaled by pixels from the closest resolution that was measured."""
    times, measures = step_times().stages, config.measures
    images = 3 * measures.swd_images + 4 * measures.ms_ssim_pairs + 2 * measures.score_images
    closest = min(times.evaluated_per_second, key=lambda side: abs(math.log2(side / resolution)))
    rate = times.evaluated_per_second[closest] * (closest / resolution) ** 2
    seconds = images / rate
    if measures.inception_weights:
        seconds += 2 * measures.score_images / times.inception_per_second
    is_measured = machine.gpus == 0 and closest == resolution and not measures.inception_weights
    basis = "measured" if is_measured else "guessed"
    return Estimate(Range.around(seconds / (times.on_gpu if machine.gpus else 1), times.spread), basis)


def photograph_count(config: Config, root: Path) -> int | None:
    """The number of images of the dataset in params.yaml; None if it is unknown before it is built."""
    dataset = config.dataset
    if name := photographs.painted(config):
        count: int | None = config.paint[name].images
    else:
        count = step_times().images.get(dataset.source) or _photographs(root / dataset.path, dataset.source)
    return count and min(count, dataset.max_images or count)


def _photographs(folder: Path, source: str) -> int | None:
    """The number of photographs in a folder; None if there are none, as in one of tables."""
    if source == "folder" and folder.exists():
        required_suffix(folder)
    return sum(map(is_photo, open_files(folder, folder).sizes)) or None if folder.is_dir() else None
