"""The section `network` of params.yaml: what all architectures share, and a class for each.

A registered model ships this module.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from progan.resolutions import RESOLUTIONS, FeatureMaps, resolutions_between
from progan.validation import NOT_NEGATIVE, POSITIVE, Checked, Constraint, Faults, between

A_NUMBER_OF_CHANNELS = Constraint("1 (grey) or 3 (RGB)", lambda value: value in (1, 3))
A_SIZE = between(1, 2**16)
NO_ATTENTION_OR_A_RESOLUTION = Constraint(
    "0 or a power of two from 8 to 1024", lambda value: value == 0 or value in RESOLUTIONS[1:]
)


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Checked):
    """Generator and discriminator. `architecture` chooses among those below, which add parameters."""

    TAG: ClassVar[str] = "architecture"
    GROWS: ClassVar[bool] = True  # whether phases add layers, or a single one trains all

    architecture: Annotated[str, "which of the architectures: docs/architectures.md"]
    channels: Annotated[int, A_NUMBER_OF_CHANNELS, "image channels, as many as the dataset has"]
    latent_size: Annotated[int, A_SIZE, "dimension of the latent vector"]
    fmap_base: Annotated[
        int,
        between(1, 2**24),
        "stage s has min(`fmap_base` / 2^(s · `fmap_decay`), `fmap_max`) feature maps; "
        "the block at 2^r pixels is stage r − 1",
    ]
    fmap_decay: Annotated[
        float, between(0, 10), "how fast the number of feature maps falls with the stage, see `fmap_base`"
    ]
    fmap_max: Annotated[int, A_SIZE, "maximum number of feature maps of a layer"]
    mbstd_group_size: Annotated[
        int,
        NOT_NEGATIVE,
        "group size of the minibatch standard deviation, which divides the minibatch; 0 leaves the layer out",
    ]
    label_size: Annotated[
        int,
        between(0, 2**16),
        'number of classes of a conditional model, that of the dataset: see "Labels"; 0 for unconditional',
    ]

    @property
    def sees_the_minibatch(self) -> tuple[str, ...]:
        """The parameters, as they are set, of layers in which all images of a rank's minibatch meet.

        The minibatch standard deviation is not among them: its groups are the same for any number of ranks.
        """
        return ()

    def faults(self, resolution: int) -> Faults:
        """What keeps the parameters from describing networks for `resolution`."""
        if self.fewest_maps(resolution) <= 0:
            yield "fmap_base", f"leaves no feature maps at {resolution} px; raise it"

    def fewest_maps(self, resolution: int) -> int:
        """The feature maps of the thinnest layers of networks for `resolution`."""
        return self.feature_maps().at(resolution)

    def feature_maps(self, divisor: int = 1) -> FeatureMaps:
        """How many feature maps the blocks have, divided by `divisor`."""
        return FeatureMaps(self.fmap_base, self.fmap_decay, self.fmap_max, divisor)


@dataclass(frozen=True, kw_only=True)
class ProganConfig(NetworkConfig):
    """Karras et al. 2018, §3, §4, Table 1 and appendix A."""

    architecture: Literal["progan"] = "progan"
    latent_norm: Annotated[
        Literal["none", "before-labels", "with-labels"],
        "pixel norm of the generator's input: of the latents before labels are appended (the authors' Theano "
        "code), of latents and labels together (their TensorFlow code), or none",
    ]
    equalized_lr: Annotated[
        bool, "equalized learning rate; `false` initialises weights as He et al. do and does not scale them"
    ]
    generator_norm: Annotated[
        Literal["pixel", "batch", "none"],
        "normalisation in the generator: pixel norm after each activation, or batch norm before it; "
        "never in the toRGB layers",
    ]
    discriminator_norm: Annotated[
        Literal["none", "layer"],
        "normalisation in the discriminator: layer norm before each activation, with one gain per layer; "
        "never in the fromRGB layers",
    ]
    generator_activation: Annotated[
        Literal["leaky-relu", "relu"], "activation in the generator; the discriminator always has leaky ReLU"
    ]
    output: Annotated[Literal["linear", "tanh"], "activation of the image, after fading"]
    minibatch_discrimination: Annotated[
        int,
        NOT_NEGATIVE,
        "number of kernels of minibatch discrimination (Salimans et al. 2016) before the last layer, instead "
        "of the minibatch standard deviation; 0 for none",
    ]
    fused_scaling: Annotated[
        bool,
        "resample and convolve in one operation; in the discriminator, bias and activation then follow the "
        "2×2 mean",
    ]
    convs_per_block: Annotated[
        Literal[1, 2],
        "3×3 convolutions per block; with 1, the discriminator's 4×4 block has no hidden layers either",
    ]
    discriminator_divisor: Annotated[int, POSITIVE, "divides the discriminator's numbers of feature maps"]

    @staticmethod
    def check_minibatch_statistics(mbstd_group_size: int, minibatch_discrimination: int) -> Faults:
        if mbstd_group_size > 1 and minibatch_discrimination:
            yield "minibatch_discrimination", "replaces minibatch stddev; set mbstd_group_size to 0"

    @property
    def sees_the_minibatch(self) -> tuple[str, ...]:
        batch_norm = ("generator_norm: batch",) if self.generator_norm == "batch" else ()
        return batch_norm + (("minibatch_discrimination",) if self.minibatch_discrimination else ())

    def fewest_maps(self, resolution: int) -> int:
        return self.feature_maps(self.discriminator_divisor).at(resolution)


@dataclass(frozen=True, kw_only=True)
class StyleParameters:
    """Those that both StyleGANs have."""

    mapping_layers: Annotated[int, between(1, 64), "layers of the mapping network from Z to W"]
    mapping_learning_rate: Annotated[float, POSITIVE, "factor on the mapping network's learning rate"]
    style_size: Annotated[int, A_SIZE, "dimension of W"]
    style_mixing: Annotated[
        float,
        between(0, 1),
        "fraction of images whose layers, from a random one on, have the style of other latents",
    ]
    noise: Annotated[
        bool,
        "noise after each convolution, for random detail (Karras et al. 2019, §3.2); after a short training "
        "it is still visible as grain",
    ]

    # Progressive GAN's parameters, for what both take over from its discriminator
    equalized_lr: ClassVar[bool] = True
    discriminator_norm: ClassVar[str] = "none"
    minibatch_discrimination: ClassVar[int] = 0
    convs_per_block: ClassVar[int] = 2
    discriminator_divisor: ClassVar[int] = 1


@dataclass(frozen=True, kw_only=True)
class StyleganConfig(StyleParameters, NetworkConfig):
    """Karras et al. 2019. It grows as Progressive GAN does.

    Their Table 1 goes from configuration C to F with `constant_input`, `noise` and `style_mixing`.
    """

    architecture: Literal["stylegan"]
    constant_input: Annotated[bool, "start from a learnt constant (config D), not from a layer of W"]
    truncation_cutoff: Annotated[
        int, NOT_NEGATIVE, "number of layers, from 4×4 on, to which truncation applies (appendix B)"
    ]


@dataclass(frozen=True, kw_only=True)
class Stylegan2Config(StyleParameters, NetworkConfig):
    """Karras et al. 2020, configuration F of its Table 1. One phase trains it at its full resolution."""

    GROWS: ClassVar[bool] = False

    architecture: Literal["stylegan2"]


@dataclass(frozen=True, kw_only=True)
class BigganConfig(NetworkConfig):
    """Brock et al. 2019. One phase trains it at its full resolution.

    With `ch` as in the paper's Table 1, `fmap_max` is 16 `ch`, and `fmap_base` is 64 `ch` for 128 px.
    """

    GROWS: ClassVar[bool] = False

    architecture: Literal["biggan"]
    class_embedding: Annotated[
        int, A_SIZE, "dimension of the class embedding that all the generator's batch norms share (§3)"
    ]
    hierarchical_latents: Annotated[
        bool,
        "split the latent vector into equal chunks, one for the first layer and one for the batch norms of "
        "each block (§3); `false` feeds all of it to the first layer",
    ]
    attention_resolution: Annotated[
        int,
        NO_ATTENTION_OR_A_RESOLUTION,
        "side of the maps among whose pixels there is self-attention, in the discriminator only below the "
        "images' own; 0 for none",
    ]

    @staticmethod
    def check_no_minibatch_stddev(mbstd_group_size: int) -> Faults:
        if mbstd_group_size:
            yield "mbstd_group_size", "must be 0: BigGAN has no minibatch standard deviation"

    @property
    def sees_the_minibatch(self) -> tuple[str, ...]:
        return ("architecture: biggan",)  # by batch norm

    def faults(self, resolution: int) -> Faults:
        yield from super().faults(resolution)
        blocks = len(resolutions_between(4, resolution))
        if blocks < 2:
            yield "architecture", f"must not be biggan at {resolution} px; 8 are the least"
        if self.hierarchical_latents and self.latent_size % blocks:
            yield (
                "latent_size",
                f"must be a multiple of {blocks}, the chunks of hierarchical latents at {resolution} px",
            )
