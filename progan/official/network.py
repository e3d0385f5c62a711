"""A network from the authors' code, and its layers by the authors' names and by this project's state keys."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from progan.errors import InputError
from progan.resolutions import phase_key, resolutions_between

Kind = Literal["first", "conv", "up", "to_rgb", "from_rgb", "dense0", "dense1"]
# The number of dimensions of a stored weight, and its conversion to this project's layout.
Layout = tuple[int, Callable[[np.ndarray], np.ndarray]]


@dataclass(frozen=True)
class OfficialNetwork:
    """The fields of NetworkConfig that it determines, plus "resolution", and its weights by state key."""

    is_generator: bool
    fields: dict[str, Any]
    weights: dict[str, np.ndarray]


def finished_level(resolution: int, lod: float) -> int:
    """The resolution that a network built for `resolution` has reached at the level of detail `lod`.

    Raises InputError during a fade, a state that no checkpoint can represent.
    """
    if lod not in range(resolution.bit_length() - 2):
        raise InputError(
            f"stopped while new layers faded in (lod {lod:g}); import a snapshot taken before or after"
        )
    return resolution >> int(lod)


class OfficialLayer(NamedTuple):
    """A layer with a weight and a bias."""

    name: str  # the authors', such as "8x8/Conv0_up"
    key: str  # in the state dict, such as "blocks.r0008.conv0"
    kind: Kind
    level: int  # resolution


def generator_layers(resolution: int, fused: bool) -> Iterator[OfficialLayer]:
    """The generator's layers, in the order in which the Theano branch stores them."""
    start, *grown = levels = resolutions_between(4, resolution)
    yield _layer(start, "Dense", "dense", "first")
    yield _layer(start, "Conv", "conv", "conv")
    for level in grown:
        yield _layer(level, "Conv0_up" if fused else "Conv0", "conv0", "up" if fused else "conv")
        yield _layer(level, "Conv1", "conv1", "conv")
    for lod, level in enumerate(reversed(levels)):
        yield OfficialLayer(f"ToRGB_lod{lod}", f"to_rgb.{phase_key(level)}", "to_rgb", level)


def discriminator_layers(resolution: int, fused: bool) -> Iterator[OfficialLayer]:
    """The discriminator's layers, in the order in which the Theano branch stores them."""
    *grown, end = levels = resolutions_between(4, resolution)[::-1]
    from_rgb = [
        OfficialLayer(f"FromRGB_lod{lod}", f"from_rgb.{phase_key(level)}", "from_rgb", level)
        for lod, level in enumerate(levels)
    ]
    yield from_rgb[0]
    for lod, level in enumerate(grown):
        yield _layer(level, "Conv0", "conv0", "conv")
        yield _layer(level, "Conv1_down" if fused else "Conv1", "conv1", "conv")
        yield from_rgb[lod + 1]
    yield _layer(end, "Conv", "conv", "conv")
    yield _layer(end, "Dense0", "dense0", "dense0")
    yield _layer(end, "Dense1", "dense1", "dense1")


def _layer(level: int, name: str, key: str, kind: Kind) -> OfficialLayer:
    return OfficialLayer(f"{level}x{level}/{name}", f"blocks.{phase_key(level)}.{key}", kind, level)


def converted(weight: np.ndarray, layer: OfficialLayer, layouts: Mapping[Kind, Layout]) -> np.ndarray:
    """`weight` in this project's layout. Raises InputError if its number of dimensions is wrong."""
    dimensions, convert = layouts[layer.kind]
    if weight.ndim != dimensions:
        raise InputError(f"{layer.name}/weight: has {weight.ndim} dimensions, not {dimensions}")
    return convert(weight)
