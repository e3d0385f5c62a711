"""params.yaml as typed, frozen, validated values; each parameter is described where it is declared.

docs/params.md is generated from these classes, and from those of the section `network` in
progan/network_config.py: `python docs/params.py`.

What decides a result stands in params.yaml, so parameters have no defaults, with one exception: a parameter
that is added later may have as its default the value that means "as before", its neutral value. Older files
may lack the parameter, and at this value it is no part of an identity (components/identity.py): nothing is
trained again.
"""

import dataclasses
import inspect
import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from progan.errors import InputError, hint
from progan.files import canonical_json
from progan.losses import LOSSES, Loss
from progan.network_config import A_NUMBER_OF_CHANNELS, BigganConfig, NetworkConfig, StyleParameters
from progan.resolutions import RESOLUTIONS, phase_key, resolutions_between
from progan.validation import (
    NOT_NEGATIVE,
    POSITIVE,
    Checked,
    Constraint,
    Faults,
    between,
    read_yaml,
    validated,
)

Name = Annotated[str, "NAME"]
PhaseKey = Annotated[str, "rNNNN"]

A_RESOLUTION = Constraint("a power of two from 4 to 1024", lambda value: value in RESOLUTIONS)
A_FRACTION = between(0, 1)
A_DECAY = Constraint("at least 0 and below 1", lambda value: 0 <= value < 1)
A_SOURCE_OF_LABELS = Constraint(
    "source, none, or a file .json or .csv",
    lambda value: value in ("source", "none") or value.lower().endswith((".json", ".csv")),
)
A_NUMBER_OF_IMAGES = between(1, 2**31)
A_LENGTH = between(0, 10**9)
A_SEED = between(0, 2**32 - 1)
A_PATH = Constraint("a folder or an archive", lambda value: value not in ("", ".") and "\0" not in value)
A_SHA256 = Constraint("64 hexadecimal digits", lambda value: re.fullmatch(r"[0-9a-f]{64}", value))
A_LOSS = Constraint(f"one of {', '.join(LOSSES)}", lambda value: value in LOSSES)

Precision = Literal["float32", "tf32", "bfloat16"]
Augmentation = Literal["color", "translation", "cutout"]


@dataclass(frozen=True)
class PaintConfig(Checked):
    """Toy photographs that `progan paint NAME` draws into `data/raw/NAME`; `paint: {}` for none."""

    images: Annotated[int, A_NUMBER_OF_IMAGES, "number of images"]
    seed: Annotated[int, A_SEED, "seed of the random shapes and colours"]


@dataclass(frozen=True)
class WarmStart(Checked):
    """The checkpoint that the first phase starts from: that of the phase below it, of a registered version.

    `progan start-from-champion` writes it: docs/plan.md. `warm_start: {}` trains from scratch.
    """

    model: Annotated[str, "name of the registered model"]
    version: Annotated[str, "its version"]
    checkpoint: Annotated[str, A_SHA256, "SHA-256 of the checkpoint's `networks.safetensors`"]


@dataclass(frozen=True)
class DatasetConfig(Checked):
    """What `progan build-dataset` reads, and the multi-resolution dataset that it builds."""

    source: Annotated[
        str, "format of the input, such as `folder`, `celeba-hq` or `cifar10`: docs/datasets.md"
    ]
    path: Annotated[str, A_PATH, "folder or archive that holds the input"]
    lowest_resolution: Annotated[int, A_RESOLUTION, "lowest level to build, in pixels"]
    resolution: Annotated[
        int,
        A_RESOLUTION,
        "highest level to build, in pixels; each lower level is the 2×2 mean of the unrounded level above",
    ]
    seed: Annotated[int | None, A_SEED, "seed of the image order; `null` keeps the order of the source"]
    label_attributes: Annotated[
        tuple[str, ...],
        "CelebA sources: attributes whose combinations are the classes; `[]` for none, and for other sources",
    ]
    max_images: Annotated[
        int | None, A_NUMBER_OF_IMAGES, "use only the first images of that order; `null` uses all"
    ]
    max_skipped: Annotated[float, A_FRACTION, "fraction of unreadable images above which the build fails"]
    verify: Annotated[
        Literal["strict", "report"],
        "`celeba-hq`: whether an image close to the published one, but not identical, is skipped (`strict`) "
        "or used (`report`)",
    ]
    channels: Annotated[
        int | None,
        A_NUMBER_OF_CHANNELS,
        "channels of the images, which are converted if the source has others: 1 makes photographs grey; "
        "`null` leaves them as they are",
    ] = None
    labels: Annotated[
        str,
        A_SOURCE_OF_LABELS,
        "where labels come from: the `source` (its folders, attributes …), `none`, or a list in `path`, such "
        "as StyleGAN's `dataset.json`: docs/datasets.md#folder",
    ] = "source"

    def __post_init__(self) -> None:
        """Give a folder one name: data/raw/x/ and ./data/raw/x are data/raw/x."""
        object.__setattr__(self, "path", str(PurePath(self.path)))
        super().__post_init__()

    @staticmethod
    def check_levels(lowest_resolution: int, resolution: int) -> Faults:
        if lowest_resolution > resolution:
            yield "lowest_resolution", f"must not be above resolution, {resolution}"

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The levels that are built, lowest first."""
        return resolutions_between(self.lowest_resolution, self.resolution)


@dataclass(frozen=True)
class TrainingConfig(Checked):
    """What all phases share: optimiser, loss, augmentation and weight averaging."""

    seed: Annotated[int, A_SEED, "seed of initial weights, data order, latents and all other random draws"]
    adam_betas: Annotated[
        tuple[float, float],
        Constraint("at least 0 and below 1 each", lambda betas: all(0 <= beta < 1 for beta in betas)),
        "β₁ and β₂ of Adam",
    ]
    adam_epsilon: Annotated[float, POSITIVE, "ε of Adam"]
    ema_decay: Annotated[
        float | None,
        A_DECAY,
        "decay per iteration of the moving average of the generator's weights; `null` with `ema_kimg`",
    ]
    critic_steps: Annotated[
        int, Constraint("1 or more", lambda value: value >= 1), "discriminator updates per generator update"
    ]
    mirror: Annotated[bool, "flip each real image horizontally with probability ½"]
    loss: Annotated[str, A_LOSS, 'adversarial loss: see "Losses"']
    loss_parameters: Annotated[dict[str, float], 'weights of its terms: see "Losses"']
    update: Annotated[
        Literal["alternating", "joint"],
        "`alternating`: `critic_steps` updates of the discriminator, then one of the generator, each with "
        "new latents; `joint`: one update of both from the same fakes, each against the other's old weights",
    ]
    label_weight: Annotated[
        float,
        NOT_NEGATIVE,
        "weight of the classification loss (AC-GAN); without effect if `network.label_size` is 0 or "
        "`conditioning` is `projection`",
    ]
    conditioning: Annotated[
        Literal["classification", "projection"],
        'what the discriminator makes of classes: see "Labels"',
    ] = "classification"
    discriminator_rate: Annotated[
        float,
        POSITIVE,
        "factor on `learning_rate` for the discriminator (two time scales, Heusel et al. 2017)",
    ] = 1.0
    orthogonal_weight: Annotated[
        float,
        NOT_NEGATIVE,
        "weight of the generator's orthogonal regularisation (Brock et al. 2019, equation 3)",
    ] = 0.0
    ema_kimg: Annotated[
        float | None,
        POSITIVE,
        "half-life of that moving average in kimg, whatever the minibatch; `null` with `ema_decay`",
    ] = None
    augment: Annotated[
        tuple[Augmentation, ...],
        "differentiable augmentation of what the discriminator sees, for small datasets: `color`, "
        "`translation`, `cutout`; `[]` for none: docs/own-photographs.md",
    ] = ()
    precision: Annotated[
        Precision,
        'in which convolutions and products are computed: see "Precision"',
    ] = "float32"
    stop_on_problems: Annotated[
        bool,
        "stop a phase if its history shows a problem (docs/watching.md#problems), instead of only saying so",
    ] = False

    @staticmethod
    def check_update(update: str, critic_steps: int) -> Faults:
        if update == "joint" and critic_steps > 1:
            yield "critic_steps", f"must be 1 if update is joint, not {critic_steps}"

    @staticmethod
    def check_lazy_terms(update: str, loss_parameters: dict[str, float]) -> Faults:
        lazy = loss_parameters.get("path_length") or loss_parameters.get("r1_interval", 1) > 1
        if update == "joint" and lazy:
            yield "update", "must be alternating with path_length or an r1_interval above 1"

    @staticmethod
    def check_average(ema_decay: float | None, ema_kimg: float | None) -> Faults:
        if (ema_decay is None) == (ema_kimg is None):
            yield "ema_decay", "must be null with ema_kimg, and a number without it"

    @staticmethod
    def check_loss_parameters(loss: str, loss_parameters: dict[str, float]) -> Faults:
        """They must be the arguments of the function that `loss` names."""
        arguments = inspect.signature(LOSSES[loss]).parameters
        for key in [key for key in loss_parameters if key not in arguments]:
            meant = hint(key, arguments, None if arguments else "it has none")
            yield f"loss_parameters.{key}", f"unknown to {loss}; {meant}"
        needed = [key for key, argument in arguments.items() if argument.default is argument.empty]
        for key in [key for key in needed if key not in loss_parameters]:
            yield f"loss_parameters.{key}", f"missing; {loss} needs it"
        if set(needed) <= loss_parameters.keys() <= arguments.keys():
            try:
                LOSSES[loss](**loss_parameters)
            except ValueError as error:
                yield "loss_parameters", str(error)

    @property
    def adversarial(self) -> Loss:
        """The loss by its name, with its parameters."""
        return LOSSES[self.loss](**self.loss_parameters)

    def averaging(self, minibatch: int) -> float:
        """The decay of the moving average in an iteration of `minibatch` images per update."""
        if self.ema_kimg is None:
            assert self.ema_decay is not None
            return self.ema_decay
        return 0.5 ** (minibatch / (1000 * self.ema_kimg))


@dataclass(frozen=True)
class PhaseConfig(Checked):
    """Training at one resolution: fade the new layers in, then stabilise. Lengths are in kimg, thousands of
    real images shown. Phases stand in order; each doubles the resolution of the one before it.
    """

    resolution: Annotated[int, A_RESOLUTION, "side of the images, in pixels; the phase is named after it"]
    init: Annotated[
        str,
        "checkpoint to start from, `checkpoints/` and the phase before; the first phase names its data, "
        "`data/multires/rNNNN`, unless `warm_start` provides a checkpoint",
    ]
    fade_kimg: Annotated[float, A_LENGTH, "length of the fade, in kimg; 0 for a first phase from scratch"]
    stable_kimg: Annotated[float, A_LENGTH, "length of the training after the fade, in kimg"]
    minibatch: Annotated[int, A_NUMBER_OF_IMAGES, "images per iteration, on all GPUs together"]
    learning_rate: Annotated[float, POSITIVE, "learning rate of Adam, for both networks"]

    @staticmethod
    def check_length(fade_kimg: float, stable_kimg: float) -> Faults:
        if fade_kimg + stable_kimg == 0:
            yield "stable_kimg", "must be positive if fade_kimg is 0"

    @property
    def key(self) -> str:
        return phase_key(self.resolution)

    @property
    def is_first(self) -> bool:
        """Whether no checkpoint comes before, at whatever resolution: then no layers are faded in."""
        return not self.init.startswith("checkpoints/")


@dataclass(frozen=True)
class MeasuresConfig(Checked):
    """How a finished phase is evaluated: docs/report.md."""

    seed: Annotated[int, A_SEED, "seed of all random draws"]
    swd_images: Annotated[int, A_NUMBER_OF_IMAGES, "images for the sliced Wasserstein distance"]
    ms_ssim_pairs: Annotated[int, A_NUMBER_OF_IMAGES, "pairs of generated images for MS-SSIM"]
    nearest_images: Annotated[
        int, POSITIVE, "generated images whose nearest training images are searched, to detect copies"
    ]
    score_images: Annotated[int, A_NUMBER_OF_IMAGES, "generated images for the score (and FID and KID)"]
    score_splits: Annotated[int, POSITIVE, "splits of them, over which the score's deviation is taken"]
    inception_weights: Annotated[
        str | None,
        'file of the Inception network\'s weights: see "Inception score"; `null` uses a classifier',
    ]
    inception_sha256: Annotated[str | None, "SHA-256 of that file; `null` if there is none"]
    classifier_epochs: Annotated[
        int, POSITIVE, "training epochs of the classifier of the labels, which scores without Inception"
    ]
    mode_samples: Annotated[
        int | None,
        POSITIVE,
        "MNIST-1K (source `mnistrgb`): number of images in which to count the modes, of 1000, and to take "
        "the KL divergence to uniform (means of ten rounds), instead of a score; `null` for other sources",
    ]

    @staticmethod
    def check_splits(score_images: int, score_splits: int) -> Faults:
        if score_images < score_splits:
            yield "score_images", f"must be at least score_splits, {score_splits} (one image per split)"

    @staticmethod
    def check_inception(inception_weights: str | None, inception_sha256: str | None) -> Faults:
        if (inception_weights is None) != (inception_sha256 is None):
            missing = "inception_weights" if inception_weights is None else "inception_sha256"
            yield missing, "inception_weights and inception_sha256 go together; give both or neither"


@dataclass(frozen=True)
class GateConfig(Checked):
    """Thresholds that a generator must meet to be registered; `null` leaves a measure unjudged."""

    swd_max: Annotated[float | None, NOT_NEGATIVE, "maximum SWD (×1000), averaged over the levels"]
    ms_ssim_max: Annotated[
        float | None, NOT_NEGATIVE, "maximum MS-SSIM; higher values mean that the images are alike"
    ]
    score_min: Annotated[
        float | None,
        NOT_NEGATIVE,
        "minimum score: Inception score, classifier score or number of modes, as measured",
    ]
    swd_vs_champion: Annotated[float | None, NOT_NEGATIVE, "maximum SWD as a multiple of the champion's"]
    stop_after: Annotated[
        str | None,
        "phase, such as `r0256`, that is judged too and ends the run if it fails: "
        "docs/cluster.md#stopping-early; `null` for none",
    ]


@dataclass(frozen=True)
class RegisterConfig(Checked):
    """The MLflow registry entry of a generator that passes the gate."""

    model: Annotated[
        str,
        Constraint("letters, digits, . _ or -", lambda value: re.fullmatch(r"[\w.-]+", value)),
        "name of the model in the registry",
    ]


@dataclass(frozen=True)
class Config(Checked):
    """The whole of params.yaml."""

    paint: dict[Name, PaintConfig]
    warm_start: dict[PhaseKey, WarmStart]
    dataset: DatasetConfig
    network: NetworkConfig
    training: TrainingConfig
    phases: Annotated[dict[PhaseKey, PhaseConfig], Constraint("one phase or more", bool)]
    measures: MeasuresConfig
    gate: GateConfig
    register: RegisterConfig

    @staticmethod
    def check_chain(warm_start: dict[str, WarmStart], phases: dict[str, PhaseConfig]) -> Faults:
        """Each phase has its resolution's name, follows the one before it and starts from its checkpoint."""
        misnamed = {key: phase for key, phase in phases.items() if key != phase.key}
        for key, phase in misnamed.items():
            yield f"phases.{key}", f"a phase at {phase.resolution} px must be named {phase.key}"
        if misnamed:
            return
        yield from _start_faults(warm_start, next(iter(phases.values())))
        for before, phase in pairwise(phases.values()):
            where, init = f"phases.{phase.key}", f"checkpoints/{before.key}"
            if phase.resolution != 2 * before.resolution:
                yield where, f"must follow {phase_key(phase.resolution // 2)}"
            elif phase.init != init:
                yield f"{where}.init", f"must be {init}, the phase before it, not {phase.init}"

    @staticmethod
    def check_growth(network: NetworkConfig, phases: dict[str, PhaseConfig]) -> Faults:
        if not network.GROWS and (len(phases) > 1 or not all(phase.is_first for phase in phases.values())):
            yield (
                "phases",
                f"must be a single one, from scratch: {network.architecture} does not grow",
            )

    @staticmethod
    def check_loss(network: NetworkConfig, training: TrainingConfig) -> Faults:
        if training.adversarial.path_length and not isinstance(network, StyleParameters):
            where = "training.loss_parameters.path_length"
            yield where, f"is of styles, and {network.architecture} has none"
        if training.adversarial.instance_noise and isinstance(network, BigganConfig):
            yield "training.loss", f"puts noise into the discriminator; {network.architecture} takes none"

    @staticmethod
    def check_groups(network: NetworkConfig, phases: dict[str, PhaseConfig]) -> Faults:
        for key, phase in phases.items():
            group = min(network.mbstd_group_size, phase.minibatch) or 1
            if phase.minibatch % group:
                yield f"phases.{key}.minibatch", f"must be a multiple of network.mbstd_group_size, {group}"

    @staticmethod
    def check_network(network: NetworkConfig, phases: dict[str, PhaseConfig]) -> Faults:
        for key, problem in network.faults(max(phase.resolution for phase in phases.values())):
            yield f"network.{key}", problem

    @staticmethod
    def check_levels(dataset: DatasetConfig, phases: dict[str, PhaseConfig]) -> Faults:
        lowest, highest = dataset.lowest_resolution, dataset.resolution
        first, last = min(phases), max(phases)
        if phases[first].resolution < lowest:
            yield f"phases.{first}", f"the dataset begins at {lowest} px; lower dataset.lowest_resolution"
        if phases[last].resolution > highest:
            yield f"phases.{last}", f"the dataset ends at {highest} px; raise dataset.resolution"

    @staticmethod
    def check_channels(dataset: DatasetConfig, network: NetworkConfig) -> Faults:
        if dataset.channels not in (None, network.channels):
            yield "network.channels", f"must be that of dataset.channels, {dataset.channels}"

    @staticmethod
    def check_stop(gate: GateConfig, phases: dict[str, PhaseConfig]) -> Faults:
        *before_last, _ = phases
        if gate.stop_after not in (None, *before_last):
            allowed = ", ".join(["null", *before_last])
            yield "gate.stop_after", f"must be one of {allowed}, not {gate.stop_after}"

    @property
    def last_phase(self) -> str:
        """The key of the phase whose generator is judged and registered."""
        return list(self.phases)[-1]

    def phase(self, key: str) -> PhaseConfig:
        """The phase called `key`; an InputError that lists the phases there are."""
        if key not in self.phases:
            raise InputError(f"phase {key}: not in params.yaml; there are {', '.join(self.phases)}")
        return self.phases[key]


def _start_faults(warm_start: dict[str, WarmStart], first: PhaseConfig) -> Faults:
    """The first phase starts from scratch, or from the one checkpoint that `warm_start` fetches."""
    where, before = f"phases.{first.key}", phase_key(first.resolution // 2)
    if not warm_start:
        if not first.is_first or first.fade_kimg > 0:
            yield (
                where,
                f"the first phase has fade_kimg 0 and init data/multires/{first.key}: "
                f"there is nothing to fade from (unless warm_start.{before} names it)",
            )
    elif list(warm_start) != [before]:
        others = ", ".join(warm_start)
        yield "warm_start", f"must be of {before} alone, the phase before {first.key}; not {others}"
    elif first.init != f"checkpoints/{before}":
        yield f"{where}.init", f"must be checkpoints/{before}, which warm_start fetches, not {first.init}"


def load(path: Path = Path("params.yaml")) -> Config:
    """Read and check `path`. Raises InputError: file, key, what is wrong, what to do."""
    return parse(read_yaml(path, "run in the project's root, or give --params"), str(path))


def parse(values: Any, where: str) -> Config:
    """The Config that `values`, which YAML gave, describe; `where` begins every error."""
    return validated(Config, values, where)


def to_text(config: Config) -> str:
    """The whole of `config` as canonical JSON: how it travels to a container."""
    return canonical_json(dataclasses.asdict(config))


def from_text(text: str) -> Config:
    """The inverse of `to_text`."""
    return parse(json.loads(text), "params")
