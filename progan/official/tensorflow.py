"""Networks as the TensorFlow branch pickles them: options, and variables by name."""

from typing import Any

import numpy as np

from progan.errors import InputError
from progan.official.network import (
    Kind,
    Layout,
    OfficialNetwork,
    converted,
    discriminator_layers,
    finished_level,
    generator_layers,
)
from progan.official.options import TENSORFLOW, Options, network_fields
from progan.official.unpickling import array_of, number_of

VERSIONS = (2, 3)  # of the state; 3 is that of the branch's successor, where a network may have components
GENERATOR, DISCRIMINATOR = "G_paper", "D_paper"

# Kernels are stored as [height, width, in, out], dense weights as [in, out]. The kernel of a fused upscaling
# is stored as [height, width, out, in], rotated by 180° relative to the convolution that it replaces.
LAYOUTS: dict[Kind, Layout] = {
    "first": (2, np.transpose),
    "conv": (4, lambda weight: weight.transpose(3, 2, 0, 1)),
    "up": (4, lambda weight: weight.transpose(2, 3, 0, 1)[:, :, ::-1, ::-1]),
    "to_rgb": (4, lambda weight: weight.transpose(3, 2, 0, 1)),
    "from_rgb": (4, lambda weight: weight.transpose(3, 2, 0, 1)),
    "dense0": (2, np.transpose),
    "dense1": (2, np.transpose),
}


def from_tensorflow(state: dict[str, Any]) -> OfficialNetwork:
    """The network with the pickled `state`. Raises InputError if it cannot be imported."""
    if state.get("version") not in VERSIONS or state.get("components"):
        raise InputError("a network of format version 2 or 3 without components is expected")
    function = state.get("build_func_name")
    if function not in (GENERATOR, DISCRIMINATOR):
        raise InputError(f"built by a function other than {GENERATOR} or {DISCRIMINATOR}: cannot be imported")
    is_generator = function == GENERATOR
    fields = network_fields(Options(state.get("static_kwargs")), is_generator, TENSORFLOW)
    variables = _variables(state.get("variables"))
    if is_generator:
        layers = list(generator_layers(fields["resolution"], fields.pop("fused")))
    else:
        layers = list(discriminator_layers(fields["resolution"], fields["fused_scaling"]))
    expected = {f"{layer.name}/{part}" for layer in layers for part in ("weight", "bias")} | {"lod"}
    if missing := sorted(expected - variables.keys()):
        raise InputError(f"{missing[0]}: no such variable, though its options ask for it")
    if unknown := sorted(variables.keys() - expected):
        raise InputError(f"{unknown[0][:80]!a}: a variable that its options do not provide for")
    level = finished_level(fields["resolution"], number_of(variables["lod"]))
    weights = {}
    for layer in layers:
        if layer.level <= level:
            weight = array_of(variables[f"{layer.name}/weight"])
            weights[f"{layer.key}.weight"] = converted(weight, layer, LAYOUTS)
            weights[f"{layer.key}.bias"] = array_of(variables[f"{layer.name}/bias"])
    return OfficialNetwork(is_generator, fields | {"resolution": level}, weights)


def _variables(pairs: Any) -> dict[str, Any]:
    """A list of (name, value) as a dict; InputError if it is not one."""
    if not isinstance(pairs, list) or not all(
        isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs
    ):
        raise InputError("the variables of a network must be a list of names and values")
    return dict(pairs)
