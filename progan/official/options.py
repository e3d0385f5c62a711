"""The options of the authors' networks, converted to this project's network parameters."""

from typing import Any

from progan.errors import InputError
from progan.official.unpickling import Record, array_of
from progan.resolutions import RESOLUTIONS
from progan.validation import WORDS

TENSORFLOW, THEANO = "TensorFlow", "Theano"
DEFAULT_MAPS = {TENSORFLOW: (8192, 512), THEANO: (4096, 256)}  # fmap_base, fmap_max in each branch
MAX_INTEGER = 2**31  # in an option
# Options that do not change the network's function, except for rounding.
WITHOUT_EFFECT = ("dtype", "structure", "is_template_graph", "use_gdrop")
# The authors' functions ignore each other's options.
GENERATORS = (
    *("latent_size", "normalize_latents", "use_pixelnorm", "pixelnorm_epsilon", "use_leakyrelu"),
    *("use_batchnorm", "tanh_at_end"),
)
DISCRIMINATORS = ("mbstd_group_size", "mbstat_func", "mbstat_avg", "mbdisc_kernels", "use_layernorm")


class Options:
    """Keyword arguments of one of the authors' functions, taken one by one; none may be left over."""

    def __init__(self, options: Any) -> None:
        if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
            raise InputError("the options of a network must be a dict by name")
        self._left = {name: _plain(value) for name, value in options.items() if name not in WITHOUT_EFFECT}

    def take(self, name: str, default: Any) -> Any:
        """The option `name`, which must have the type of `default`, its default in the authors' code."""
        value = self._left.pop(name, None)
        if value is None:
            return default
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(default):
            raise InputError(f"option {name}: must be {WORDS[type(default)]}, not {_short(value)}")
        return value

    def one_of(self, name: str, default: Any, *others: Any) -> Any:
        """The option `name`; InputError unless it is its default or another value that can be imported."""
        value = self._left.pop(name, default)
        if value not in (default, *others):
            raise InputError(f"option {name} is {_short(value)}: only {_short(default)} can be imported")
        return value

    def finish(self, ignored: tuple[str, ...]) -> None:
        """Raise InputError for an option that was not taken, unless it is `ignored` or switched off."""
        for name, value in self._left.items():
            if name not in ignored and value not in (None, False):
                raise InputError(f"option {name[:40]!a} is {_short(value)}: unknown, cannot be imported")


def network_fields(options: Options, is_generator: bool, branch: str) -> dict[str, Any]:
    """The fields of NetworkConfig that `options` determine, plus "resolution" and a generator's "fused".

    branch: TENSORFLOW or THEANO. Raises InputError for an option that has no counterpart in this project.
    """
    base, maximum = DEFAULT_MAPS[branch]
    fields = {
        "resolution": options.take("resolution", 32),
        "channels": options.take("num_channels", 1),
        "label_size": options.take("label_size", 0),
        "fmap_base": options.take("fmap_base", base),
        "fmap_decay": options.take("fmap_decay", 1.0),
        "fmap_max": options.take("fmap_max", maximum),
        "equalized_lr": options.take("use_wscale", True),
    }
    if fields["resolution"] not in RESOLUTIONS:
        raise InputError(f"option resolution: a power of two from 4 to 1024, not {fields['resolution']}")
    fused = options.take("fused_scale", True) if branch == TENSORFLOW else False
    if is_generator:
        fields |= {"fused": fused} | _generator_fields(
            options, branch, min(fields["fmap_base"], fields["fmap_max"])
        )
    else:
        fields |= {"fused_scaling": fused, "mbstd_group_size": _mbstd_group_size(options, branch)}
    options.finish(ignored=DISCRIMINATORS if is_generator else GENERATORS)
    return fields


def _generator_fields(options: Options, branch: str, default_latents: int) -> dict[str, Any]:
    if branch == TENSORFLOW:
        options.one_of("pixelnorm_epsilon", 1e-8)
    else:
        options.one_of("use_batchnorm", False)
        options.one_of("tanh_at_end", None)
    norm = {TENSORFLOW: "with-labels", THEANO: "before-labels"}[branch]
    return {
        "latent_size": options.take("latent_size", default_latents),
        "latent_norm": norm if options.take("normalize_latents", True) else "none",
        "generator_norm": "pixel" if options.take("use_pixelnorm", True) else "none",
        "generator_activation": "leaky-relu" if options.take("use_leakyrelu", True) else "relu",
    }


def _mbstd_group_size(options: Options, branch: str) -> int:
    """The group size of the minibatch stddev. In Theano it is the whole minibatch, of at most 16 images."""
    if branch == TENSORFLOW:
        return options.take("mbstd_group_size", 4)
    options.one_of("use_layernorm", False)
    options.one_of("mbdisc_kernels", None)
    options.one_of("mbstat_func", "Tstdeps")
    return 0 if options.one_of("mbstat_avg", "all", None) is None else 16


def _plain(value: Any) -> Any:
    """`value`, with a recorded NumPy number as a Python number."""
    if isinstance(value, Record):
        array = array_of(value)
        if array.size != 1:
            raise InputError("the options of a network must be numbers, texts and truth values")
        value = array.item()
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise InputError("an option of a network is larger than any can be")
    return value


def _short(value: Any) -> str:
    """`value` for an error message; only its type if it is not a plain value."""
    if value is None or isinstance(value, bool | int | float | str):
        return ascii(value)[:40]
    return f"a {type(value).__name__}"
