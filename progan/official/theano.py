"""Networks as the Theano branch pickles them: options, and unnamed parameters in the order of the layers."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from progan.errors import InputError
from progan.official.network import (
    Kind,
    Layout,
    OfficialLayer,
    OfficialNetwork,
    converted,
    discriminator_layers,
    finished_level,
    generator_layers,
)
from progan.official.options import THEANO, Options, network_fields
from progan.official.unpickling import array_of, number_of

GENERATORS, DISCRIMINATORS = ("G_paper", "G_progressive_8"), ("D_paper", "D_progressive_8")

# Kernels are stored as [out, in, height, width], rotated by 180°, because Theano's convolution rotates them.
# The first layer is a 4×4 convolution of a single padded pixel, so its output for a unit input is its kernel
# itself; `dense0` is a convolution of a whole 4×4 map. Dense and 1×1 weights are stored as [in, out].
LAYOUTS: dict[Kind, Layout] = {
    "first": (4, lambda weight: weight.transpose(0, 2, 3, 1).reshape(-1, weight.shape[1])),
    "conv": (4, lambda weight: weight[:, :, ::-1, ::-1]),
    "to_rgb": (2, lambda weight: weight.T[:, :, None, None]),
    "from_rgb": (2, lambda weight: weight.T[:, :, None, None]),
    "dense0": (4, lambda weight: weight[:, :, ::-1, ::-1].reshape(weight.shape[0], -1)),
    "dense1": (2, np.transpose),
}
GAINS: dict[Kind, float] = {"first": math.sqrt(2) / 4, "to_rgb": 1.0, "dense1": 1.0}  # √2 in the others


def from_theano(state: dict[str, Any]) -> OfficialNetwork:
    """The network with the pickled `state`. Raises InputError if it cannot be imported."""
    spec = state.get("build_func_spec")
    if not isinstance(spec, dict):
        raise InputError("a dict of options (build_func_spec) is expected")
    function = spec.get("func")
    if function not in GENERATORS + DISCRIMINATORS:
        functions = ", ".join(GENERATORS + DISCRIMINATORS)
        raise InputError(f"built by a function other than {functions}: cannot be imported")
    is_generator = function in GENERATORS
    options = Options({name: value for name, value in spec.items() if name != "func"})
    fields = network_fields(options, is_generator, THEANO)
    if is_generator:
        layers = list(generator_layers(fields["resolution"], fields.pop("fused")))
    else:
        layers = list(discriminator_layers(fields["resolution"], fused=False))
        if fields["label_size"]:
            layers.append(layers[-1]._replace(name="labels"))
    level = finished_level(fields["resolution"], number_of(_lod(state)))
    weights: dict[str, np.ndarray] = {}
    for layer, weight, bias in _layers(state.get("param_values"), layers, fields["equalized_lr"]):
        if layer.name == "labels":  # a separate dense layer there; here its outputs follow the score
            weight = _joined(weights[f"{layer.key}.weight"], weight)
            bias = _joined(weights[f"{layer.key}.bias"], bias)
        if layer.level <= level:
            weights |= {f"{layer.key}.weight": weight, f"{layer.key}.bias": bias}
    return OfficialNetwork(is_generator, fields | {"resolution": level}, weights)


def _layers(
    values: Any, layers: list[OfficialLayer], equalized: bool
) -> Iterator[tuple[OfficialLayer, np.ndarray, np.ndarray]]:
    """Yield each layer with its weight and bias; the stored scale is folded into the weight.

    Weights are divided by gain / √fan_in, which this project multiplies with at run time (paper §4.1).
    """
    per_layer = 3 if equalized else 2
    if not isinstance(values, list) or len(values) != per_layer * len(layers):
        count = len(values) if isinstance(values, list) else "no"
        raise InputError(f"has {count} parameters, where its options ask for {per_layer * len(layers)}")
    for number, layer in enumerate(layers):
        stored, *scale, bias = values[number * per_layer : (number + 1) * per_layer]
        weight = converted(array_of(stored), layer, LAYOUTS)
        if scale:
            gain = GAINS.get(layer.kind, math.sqrt(2))
            fan_in = math.prod(weight.shape[1:])
            weight = weight.astype(np.float64) * (number_of(scale[0]) * math.sqrt(fan_in) / gain)
        yield layer, weight, array_of(bias)


def _joined(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if scores.shape[1:] != labels.shape[1:]:
        raise InputError("the layers of scores and labels do not have the same inputs")
    return np.concatenate([scores, labels])


def _lod(state: dict[str, Any]) -> Any:
    parameters = state.get("toplevel_params")
    if not isinstance(parameters, dict) or "cur_lod" not in parameters:
        raise InputError("does not say its level of detail (cur_lod)")
    return parameters["cur_lod"]
