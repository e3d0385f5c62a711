"""How long a phase trains and a stage works: own runs, then step_times.yaml, then arithmetic."""

import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import yaml

from components.score_network.stage import classifier_resolution
from progan.checkpoints import read_checkpoint
from progan.config import Config, NetworkConfig, validated
from progan.cost import iteration_flops
from progan.errors import InputError
from progan.history import History
from progan.metrics import modes
from progan.resolutions import phase_key

OWN_SPREAD = 1.3  # of a rate that a run of this project had
SPREAD_OF_SCALING = 0.15  # added for each factor of two from the rate that is known
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
# What is known


@dataclass(frozen=True)
class Rate:
    """Images a second on one device, each of so many operations."""

    resolution: int
    minibatch: int
    megaflops: float
    images_per_second: float

    def distance(self, minibatch: int, megaflops: float) -> float:
        """How unlike another step is, in factors of two."""
        other_minibatch = abs(math.log2(minibatch / self.minibatch)) / 2
        return abs(math.log2(megaflops / self.megaflops)) + other_minibatch


@dataclass(frozen=True)
class Measured:
    """Rates of one device, and how they were found."""

    device: str
    how: str
    spread: float
    rates: tuple[Rate, ...]

    def spread_at(self, rate: Rate, minibatch: int, megaflops: float) -> float:
        """How unsure it is what one of the rates says of another step."""
        wider = 1 + SPREAD_OF_SCALING * rate.distance(minibatch, megaflops)
        return min(self.spread * wider, LARGEST_SPREAD)


@dataclass(frozen=True)
class AnyOther:
    """A card that no guess is for."""

    teraflops: float
    spread: float


@dataclass(frozen=True)
class Guessed:
    """What stands in for measurements of GPUs."""

    spread: float
    level_milliseconds: float
    several_gpus: float
    teraflops: dict[str, float]
    any_other: AnyOther


@dataclass(frozen=True)
class StageTimes:
    """The stages that are no training."""

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
    """The whole of step_times.yaml."""

    measured: tuple[Measured, ...]
    guessed: Guessed
    stages: StageTimes
    images: dict[str, int]


@cache
def step_times() -> StepTimes:
    """The project's own table."""
    file = resources.files("pipelines.planning") / "step_times.yaml"
    return validated(StepTimes, yaml.safe_load(file.read_text(encoding="utf-8")), file.name)


def own_rates(config: Config, root: Path, device: str) -> tuple[Measured, ...]:
    """What this project's finished phases say, by the device they ran on.

    device: that of this machine, for histories that name none.
    """
    rates: dict[str, list[Rate]] = {}
    for file in sorted((root / "history").glob("r*.csv")):
        history = History.read(file)
        if not history.total.seconds:
            continue
        last = history.rows[-1]
        network = _network_of(root / "checkpoints" / file.stem) or config.network
        resolution, gpus = int(file.stem[1:]), max(1, history.total.gpus)
        rate = Rate(
            resolution,
            last.minibatch // gpus,
            iteration_flops(network, resolution) / 1e6,
            last.images / last.seconds / _together(gpus),
        )
        rates.setdefault(last.machine.device or device, []).append(rate)
    return tuple(Measured(name, "own run", OWN_SPREAD, tuple(found)) for name, found in rates.items())


def _network_of(checkpoint: Path) -> NetworkConfig | None:
    """What a checkpoint was made with; None if it is missing or damaged, for then params.yaml counts."""
    try:
        return read_checkpoint(checkpoint, needed=()).facts.network
    except InputError:
        return None


# ------------------------------------------------------------------------------------------------
# What follows from it


@dataclass(frozen=True)
class Estimate:
    """How long, and from what that was concluded: "own run", "measured" or "guessed", perhaps "scaled"."""

    seconds: Range
    basis: str


@dataclass(frozen=True)
class Machine:
    """What a stage runs on. `device` is a card's name, or "CPU"."""

    device: str
    gpus: int  # 0: a CPU


def training(config: Config, key: str, images: int, machine: Machine, own: tuple[Measured, ...]) -> Estimate:
    """How long it takes to show so many images in the phase `key`."""
    phase, gpus = config.phase(key), max(1, machine.gpus)
    share = max(1, phase.minibatch // gpus)
    flops = iteration_flops(config.network, phase.resolution)
    known = _surest(machine.device, share, flops / 1e6, (*own, *step_times().measured))
    if known is None:
        seconds, basis = _guessed(machine.device, share, flops, phase.resolution)
        return Estimate(seconds * (images / _together(gpus)), basis)
    source, rate = known
    scale = flops / 1e6 / rate.megaflops
    spread = source.spread_at(rate, share, flops / 1e6)
    basis = "own run" if source in own else "measured"
    if spread > 1.05 * source.spread:
        basis += f", scaled from {phase_key(rate.resolution)}"
    return Estimate(Range.around(images * scale / rate.images_per_second / _together(gpus), spread), basis)


def _together(gpus: int) -> float:
    """How many times as fast as one so many GPUs are."""
    return 1.0 if gpus == 1 else gpus * step_times().guessed.several_gpus


def _surest(
    device: str, minibatch: int, megaflops: float, known: tuple[Measured, ...]
) -> tuple[Measured, Rate] | None:
    """Of the same device, the rate that says the most of such a step, and where it is from."""
    candidates = [(each, rate) for each in known if _same(each.device, device) for rate in each.rates]
    return min(candidates, key=lambda pair: pair[0].spread_at(pair[1], minibatch, megaflops), default=None)


def _same(one: str, other: str) -> bool:
    """Whether two names are of one card: a node's label has hyphens where CUDA has spaces."""
    return _hyphens(one) == _hyphens(other)


def _hyphens(name: str) -> str:
    return name.replace(" ", "-").lower()


def _guessed(device: str, minibatch: int, flops: float, resolution: int) -> tuple[Range, str]:
    """Seconds an image on one card that nobody measured."""
    guess = step_times().guessed
    fits = [name for name in guess.teraflops if name.lower() in _hyphens(device)]
    teraflops = guess.teraflops[fits[0]] if fits else guess.any_other.teraflops
    spread = guess.spread if fits else guess.any_other.spread
    levels = int(math.log2(resolution)) - 1
    starting = levels * guess.level_milliseconds / 1e3 / minibatch
    return Range.around(starting + flops / (teraflops * 1e12), spread), "guessed"


def other(
    stage: str, config: Config, key: str | None, images: int | None, machine: Machine
) -> Estimate | None:
    """How long a stage works that is no training; None if nobody knows, or nobody counted the photographs.

    key: the phase that is evaluated. images: in the dataset.
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
        pixels = _trained_on(config, images) * classifier_resolution(config) ** 2
    seconds, basis = 0.0, "measured"
    if stage in times.images_per_second:
        seconds += images / times.images_per_second[stage]
    if stage == "build-dataset" and config.dataset.source in times.rebuilt_per_second:
        seconds += images / times.rebuilt_per_second[config.dataset.source]
        basis = "guessed"
    if stage in times.megapixels_per_second:
        seconds += pixels / 1e6 / times.megapixels_per_second[stage]
    return Estimate(Range.around(seconds, times.spread), basis)


def _trained_on(config: Config, images: int) -> int:
    """How many images a score network of our own sees in all its epochs, if the dataset has classes."""
    measures = config.measures
    if measures.inception_weights is not None:
        return 0
    if measures.mode_samples is not None:
        images = 3 * min(images, modes.TRAINING_IMAGES)  # planes
    return images * measures.classifier_epochs


def _evaluation(config: Config, resolution: int, machine: Machine) -> Estimate:
    """Every image that is looked at, by pixels from the resolution that was measured next to this one."""
    times, measures = step_times().stages, config.measures
    looked_at = 3 * measures.swd_images + 4 * measures.ms_ssim_pairs + 2 * measures.score_images
    known = min(times.evaluated_per_second, key=lambda side: abs(math.log2(side / resolution)))
    rate = times.evaluated_per_second[known] * (known / resolution) ** 2
    seconds = looked_at / rate
    if measures.inception_weights:
        seconds += 2 * measures.score_images / times.inception_per_second
    is_known = machine.gpus == 0 and known == resolution and not measures.inception_weights
    basis = "measured" if is_known else "guessed"
    return Estimate(Range.around(seconds / (times.on_gpu if machine.gpus else 1), times.spread), basis)


def photographs(config: Config, root: Path) -> int | None:
    """How many images the dataset that params.yaml describes has, if that can be known before it is built."""
    dataset = config.dataset
    painted = [paint.images for name, paint in config.paint.items() if dataset.path == f"data/raw/{name}"]
    found = painted[0] if painted else step_times().images.get(dataset.source) or _files(root / dataset.path)
    return found and min(found, dataset.max_images or found)


def _files(folder: Path) -> int | None:
    return sum(1 for path in folder.rglob("*.*")) or None if folder.is_dir() else None
