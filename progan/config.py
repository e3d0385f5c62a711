"""params.yaml as typed, frozen, validated values. Every error names the key.

The classes are plain dataclasses so that training needs nothing else; `load` checks a file against
them with pydantic. There are no defaults: what decides a result stands in params.yaml.
"""

import dataclasses
import inspect
import json
import re
import typing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from progan.errors import InputError, hint
from progan.files import canonical_json
from progan.losses import LOSSES, Loss
from progan.resolutions import RESOLUTIONS, FeatureMaps, phase_key, resolutions_between

T = TypeVar("T")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_resolution(value: int, key: str) -> None:
    _require(value in RESOLUTIONS, f"{key} must be a power of two from 4 to 1024, not {value}")


@dataclass(frozen=True)
class PaintConfig:
    """How many pictures the toy painter makes, and from which seed."""

    images: int
    seed: int

    def __post_init__(self) -> None:
        _require(self.images > 0, f"images must be positive, not {self.images}")


@dataclass(frozen=True)
class WarmStart:
    """The checkpoint of a registered version that the first phase starts from, by its digest."""

    model: str
    version: str
    checkpoint: str

    def __post_init__(self) -> None:
        _require(
            bool(re.fullmatch(r"[0-9a-f]{64}", self.checkpoint)),
            f"checkpoint: the SHA-256 of its networks.safetensors is expected, not {self.checkpoint}",
        )


@dataclass(frozen=True)
class DatasetConfig:
    """What `build-dataset` reads and how it becomes a multi-resolution dataset."""

    source: str
    path: str
    lowest_resolution: int
    resolution: int
    seed: int | None
    label_attributes: tuple[str, ...]
    max_images: int | None
    max_skipped: float
    verify: Literal["strict", "report"]

    def __post_init__(self) -> None:
        _require_resolution(self.resolution, "resolution")
        _require_resolution(self.lowest_resolution, "lowest_resolution")
        _require(
            self.lowest_resolution <= self.resolution,
            f"lowest_resolution must not be above resolution, {self.resolution}",
        )
        _require(self.seed is None or 0 <= self.seed < 2**32, f"seed must be null or from 0 to {2**32 - 1}")
        _require(0 <= self.max_skipped <= 1, f"max_skipped is a fraction from 0 to 1, not {self.max_skipped}")
        _require(self.max_images is None or self.max_images > 0, "max_images must be positive or null")

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The levels that are built, lowest first."""
        return resolutions_between(self.lowest_resolution, self.resolution)


@dataclass(frozen=True)
class NetworkConfig:
    """The form of generator and discriminator (paper §3, §4, Table 1, appendix A)."""

    channels: int
    latent_size: int
    fmap_base: int
    fmap_decay: float
    fmap_max: int
    mbstd_group_size: int
    label_size: int
    latent_norm: Literal["none", "before-labels", "with-labels"]
    equalized_lr: bool
    generator_norm: Literal["pixel", "batch", "none"]
    discriminator_norm: Literal["none", "layer"]
    generator_activation: Literal["leaky-relu", "relu"]
    output: Literal["linear", "tanh"]
    minibatch_discrimination: int
    fused_scaling: bool
    convs_per_block: Literal[1, 2]
    discriminator_divisor: int

    def __post_init__(self) -> None:
        _require(self.channels in (1, 3), f"channels must be 1 (grey) or 3 (RGB), not {self.channels}")
        for name in ("latent_size", "fmap_base", "fmap_max", "discriminator_divisor"):
            _require(getattr(self, name) > 0, f"{name} must be positive")
        for name in ("mbstd_group_size", "label_size", "minibatch_discrimination"):
            _require(getattr(self, name) >= 0, f"{name} must be 0 (none) or more")
        _require(
            self.mbstd_group_size <= 1 or not self.minibatch_discrimination,
            "minibatch_discrimination takes the place of minibatch stddev: set mbstd_group_size to 0",
        )


@dataclass(frozen=True)
class TrainingConfig:
    """What all phases share: optimiser, loss, updates, averaging, augmentation."""

    seed: int
    adam_betas: tuple[float, float]
    adam_epsilon: float
    ema_decay: float
    critic_steps: int
    mirror: bool
    loss: str
    loss_parameters: dict[str, float]
    update: Literal["alternating", "joint"]
    label_weight: float

    def __post_init__(self) -> None:
        for name, value in zip(("beta1", "beta2"), self.adam_betas, strict=True):
            _require(0 <= value < 1, f"adam_betas: {name} must be in [0, 1), not {value}")
        _require(0 <= self.ema_decay < 1, f"ema_decay must be in [0, 1), not {self.ema_decay}")
        _require(self.critic_steps >= 1, "critic_steps must be at least 1")
        _require(
            self.update == "alternating" or self.critic_steps == 1,
            f"critic_steps must be 1 where update is joint, not {self.critic_steps}",
        )
        _require(self.label_weight >= 0, "label_weight must not be negative")
        self._check_loss()

    def _check_loss(self) -> None:
        """Compare `loss_parameters` with the arguments of the function that `loss` names."""
        _require(self.loss in LOSSES, f"loss: none is called {self.loss}; {hint(self.loss, LOSSES)}")
        known = inspect.signature(LOSSES[self.loss]).parameters
        for key in self.loss_parameters:
            meant = hint(key, known, None if known else "it has none")
            _require(key in known, f"loss_parameters.{key}: unknown to {self.loss}; {meant}")
        for key in known:
            _require(key in self.loss_parameters, f"loss_parameters.{key}: {self.loss} needs it")
        try:
            _ = self.adversarial
        except ValueError as error:
            raise ValueError(f"loss_parameters.{error}") from None

    @property
    def adversarial(self) -> Loss:
        """The loss by its name, with its parameters."""
        return LOSSES[self.loss](**self.loss_parameters)


@dataclass(frozen=True)
class PhaseConfig:
    """Training at one resolution: fade the new layers in, then stabilise."""

    resolution: int
    init: str
    fade_kimg: float
    stable_kimg: float
    minibatch: int
    learning_rate: float

    def __post_init__(self) -> None:
        _require_resolution(self.resolution, "resolution")
        _require(self.fade_kimg >= 0, "fade_kimg must not be negative")
        _require(self.stable_kimg >= 0, "stable_kimg must not be negative")
        _require(self.fade_kimg + self.stable_kimg > 0, "fade_kimg + stable_kimg must be positive")
        _require(self.minibatch > 0, "minibatch must be positive")
        _require(self.learning_rate > 0, "learning_rate must be positive")

    @property
    def key(self) -> str:
        return phase_key(self.resolution)

    @property
    def is_first(self) -> bool:
        """Whether no checkpoint comes before, at whatever resolution: then no layers are faded in."""
        return not self.init.startswith("checkpoints/")


@dataclass(frozen=True)
class MeasuresConfig:
    """How a finished phase is measured."""

    seed: int
    swd_images: int
    ms_ssim_pairs: int
    nearest_images: int
    score_images: int
    score_splits: int
    inception_weights: str | None
    inception_sha256: str | None
    classifier_epochs: int
    mode_samples: int | None

    def __post_init__(self) -> None:
        counts = ("swd_images", "ms_ssim_pairs", "nearest_images", "score_images", "score_splits")
        for name in (*counts, "classifier_epochs"):
            _require(getattr(self, name) > 0, f"{name} must be positive")
        _require(self.mode_samples is None or self.mode_samples > 0, "mode_samples must be positive or null")
        _require(
            self.score_images >= self.score_splits,
            "score_images must be at least score_splits (one image a split)",
        )
        _require(
            (self.inception_weights is None) == (self.inception_sha256 is None),
            "inception_weights and inception_sha256 go together: give both or neither",
        )


@dataclass(frozen=True)
class GateConfig:
    """The thresholds a generator must meet to be registered; null leaves a measure unjudged."""

    swd_max: float | None
    ms_ssim_max: float | None
    score_min: float | None
    swd_vs_champion: float | None
    stop_after: str | None  # the key of a phase whose verdict decides whether the next one is trained


@dataclass(frozen=True)
class RegisterConfig:
    """Where a passing generator goes."""

    model: str

    def __post_init__(self) -> None:
        _require(
            bool(re.fullmatch(r"[\w.-]+", self.model)),
            f"model must be letters, digits, . _ -: {self.model!r}",
        )


@dataclass(frozen=True)
class Config:
    """The whole of params.yaml."""

    paint: dict[str, PaintConfig]
    warm_start: dict[str, WarmStart]  # by the phase whose checkpoint it is; one, or none
    dataset: DatasetConfig
    network: NetworkConfig
    training: TrainingConfig
    phases: dict[str, PhaseConfig]
    measures: MeasuresConfig
    gate: GateConfig
    register: RegisterConfig

    def __post_init__(self) -> None:
        _require(bool(self.phases), "phases: at least one phase is needed")
        for key, phase in self.phases.items():
            _require(
                key == phase.key, f"phases.{key}: a phase at {phase.resolution} px must be named {phase.key}"
            )
            group = min(self.network.mbstd_group_size, phase.minibatch) or 1
            _require(
                phase.minibatch % group == 0,
                f"phases.{key}.minibatch: must be a multiple of network.mbstd_group_size, {group}",
            )
        phases = list(self.phases.values())
        self._check_start(phases[0])
        for before, phase in pairwise(phases):
            _check_follows(before, phase)
        self._check_ends(phases[0], phases[-1])
        early = [*self.phases][:-1]
        _require(
            self.gate.stop_after in (None, *early),
            f"gate.stop_after: must be one of {', '.join(['null', *early])}, not {self.gate.stop_after}",
        )

    def _check_ends(self, first: PhaseConfig, last: PhaseConfig) -> None:
        """The dataset begins and ends where the phases do, or beyond; the networks reach the last one."""
        _require(
            first.resolution >= self.dataset.lowest_resolution,
            f"phases.{first.key}: the dataset begins at {self.dataset.lowest_resolution} px; lower "
            "dataset.lowest_resolution",
        )
        _require(
            FeatureMaps(self.network, self.network.discriminator_divisor).at(last.resolution) > 0,
            f"network: no feature maps are left at {last.resolution} px; raise fmap_base",
        )
        _require(
            last.resolution <= self.dataset.resolution,
            f"phases.{last.key}: the dataset ends at {self.dataset.resolution} px; raise dataset.resolution",
        )

    def _check_start(self, first: PhaseConfig) -> None:
        """The first phase starts from nothing, or from the checkpoint that `warm_start` fetches."""
        where, before = f"phases.{first.key}", phase_key(first.resolution // 2)
        if self.warm_start:
            _require(
                list(self.warm_start) == [before],
                f"warm_start: must be of {before} alone, the phase before {first.key}; "
                f"not {', '.join(self.warm_start)}",
            )
            _require(
                first.init == f"checkpoints/{before}",
                f"{where}.init: must be checkpoints/{before}, which warm_start fetches, not {first.init}",
            )
        else:
            _require(
                first.is_first and first.fade_kimg == 0,
                f"{where}: the first phase has fade_kimg 0 and init data/multires/{first.key}: "
                f"nothing is there to fade from (or warm_start.{before} says what is)",
            )

    @property
    def last_phase(self) -> str:
        """The key of the phase whose generator is judged and registered."""
        return list(self.phases)[-1]

    def phase(self, key: str) -> PhaseConfig:
        """The phase called `key`; an InputError that lists the phases there are."""
        if key not in self.phases:
            raise InputError(f"phase {key}: not in params.yaml; there are {', '.join(self.phases)}")
        return self.phases[key]


def _check_follows(before: PhaseConfig, phase: PhaseConfig) -> None:
    """A phase doubles the resolution of the one before it, and begins with its checkpoint."""
    where, init = f"phases.{phase.key}", f"checkpoints/{before.key}"
    _require(
        phase.resolution == 2 * before.resolution, f"{where}: must follow {phase_key(phase.resolution // 2)}"
    )
    _require(phase.init == init, f"{where}.init: must be {init}, the phase before it, not {phase.init}")


def load(path: Path = Path("params.yaml")) -> Config:
    """Read and check `path`. Raises InputError: file, key, what is wrong, what to do."""
    return parse(read_yaml(path, "run in the project's root, or give --params"), str(path))


def parse(values: Any, where: str) -> Config:
    """Check `values` (what YAML gave) and make a Config of them; `where` begins every error."""
    return validated(Config, values, where)


def to_text(config: Config) -> str:
    """The whole of `config` as canonical JSON: how it travels to a container."""
    return canonical_json(dataclasses.asdict(config))


def from_text(text: str) -> Config:
    """The inverse of `to_text`."""
    return parse(json.loads(text), "params")


def read_yaml(path: Path, when_missing: str) -> Any:
    """What stands in `path`; an InputError that names it, with `when_missing` as what to do."""
    try:
        return yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {when_missing}") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check what it is and who may read it"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def validated(cls: type[T], values: Any, where: str) -> T:
    """Check `values` against the dataclass `cls` and make one of them; every error names the key."""
    from pydantic import TypeAdapter, ValidationError

    _refuse_unknown(cls, values, where)
    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            message = "missing; add it, as the file that comes with the project has it"
        raise InputError(f"{where}: {key + ': ' if key else ''}{message[0].lower() + message[1:]}") from None


def _refuse_unknown(cls: Any, values: Any, where: str, prefix: str = "") -> None:
    """Name a misspelt or unknown key, before pydantic complains that the right one is missing."""
    if not isinstance(values, dict):
        raise InputError(
            f"{where}: {prefix.rstrip('.') or 'the file'}: a mapping of keys to values is expected"
        )
    fields = {field.name: field.type for field in dataclasses.fields(cls)}
    for key, value in values.items():
        if key not in fields:
            raise InputError(f"{where}: {prefix}{key}: unknown parameter; {hint(str(key), fields)}")
        annotation: Any = fields[key]
        if dataclasses.is_dataclass(annotation):
            _refuse_unknown(annotation, value, where, f"{prefix}{key}.")
        elif (inner := _inner_class(annotation)) is not None and isinstance(value, dict | list):
            for name, item in value.items() if isinstance(value, dict) else enumerate(value):
                if isinstance(value, dict) and not isinstance(name, str):
                    raise InputError(f"{where}: {prefix}{key}.{name}: keys are strings here, such as r0004")
                _refuse_unknown(inner, item, where, f"{prefix}{key}.{name}.")


def _inner_class(annotation: Any) -> Any:
    """The dataclass D of a `dict[str, D]` or `tuple[D, ...]` annotation, None for any other."""
    parts = typing.get_args(annotation)
    return next((part for part in parts if dataclasses.is_dataclass(part)), None)


def deciding(config: Config, names: typing.Iterable[str]) -> dict[str, Any]:
    """The values of `config` that `names` name, such as "network" and "phases.r0008", by those names."""
    values = json.loads(to_text(config))
    found = {}
    for name in names:
        found[name] = values
        for part in name.split("."):
            found[name] = found[name][part]
    return found
