"""The authors' released weights as networks of this project."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from progan.errors import InputError
from progan.network_config import NetworkConfig, ProganConfig
from progan.networks import build_networks
from progan.official.network import OfficialNetwork
from progan.official.tensorflow import from_tensorflow
from progan.official.theano import from_theano
from progan.official.unpickling import NetworkRecord, read_pickle

NAMES = {"G": "generator", "D": "discriminator", "Gs": "ema"}  # the authors', in the order of their tuple
FINAL_FORM: dict[str, Any] = {  # shared by all of the authors' networks
    "discriminator_norm": "none",
    "output": "linear",
    "minibatch_discrimination": 0,
    "convs_per_block": 2,
    "discriminator_divisor": 1,
}


@dataclass(frozen=True)
class OfficialWeights:
    """Generator, discriminator and averaged generator of an official file, at the resolution they reached."""

    network: NetworkConfig
    resolution: int
    generator: nn.Module
    discriminator: nn.Module
    ema: nn.Module


def read_official(path: Path) -> OfficialWeights:
    """Read a pickle of the authors' TensorFlow or Theano branch: a tuple (G, D, Gs).

    Raises InputError, one line, if it is not such a file or its networks have no counterpart in this project.
    """
    official = _networks(path)
    fields = _common_fields(official, path)
    resolution = fields.pop("resolution")
    try:
        network = ProganConfig(**fields, **FINAL_FORM)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    modules = {
        NAMES[name]: _build_module(part, network, resolution, f"{path}: {name}")
        for name, part in official.items()
    }
    return OfficialWeights(network, resolution, **modules)


def _networks(path: Path) -> dict[str, OfficialNetwork]:
    """The networks in the file, by the names in NAMES."""
    content = read_pickle(path)
    if not isinstance(content, tuple) or len(content) != len(NAMES):
        raise InputError(f"{path}: not the networks (G, D, Gs) of the authors' code; name such a file")
    official = {}
    for name, part in zip(NAMES, content, strict=True):
        try:
            official[name] = _network(part)
            if official[name].is_generator == (name == "D"):
                raise InputError("not the network expected in this place of (G, D, Gs)")
        except InputError as error:
            raise InputError(f"{path}: {name}: {error}") from None
    return official


def _network(part: Any) -> OfficialNetwork:
    if not isinstance(part, NetworkRecord) or not isinstance(part.state, dict):
        raise InputError("not a network of the authors' code")
    return from_tensorflow(part.state) if "version" in part.state else from_theano(part.state)


def _common_fields(official: dict[str, OfficialNetwork], path: Path) -> dict[str, Any]:
    """The fields of all networks. Raises InputError if two networks disagree on one."""
    fields: dict[str, Any] = {}
    for name, part in official.items():
        for field, value in part.fields.items():
            if fields.setdefault(field, value) != value:
                raise InputError(
                    f"{path}: {name}: {field} is {value}, but {fields[field]} in another of its networks"
                )
    return fields


def _build_module(part: OfficialNetwork, network: NetworkConfig, resolution: int, where: str) -> nn.Module:
    """A module with the weights of `part`. Raises InputError for wrong shapes or non-finite values."""
    try:
        with torch.device("meta"):  # allocates nothing for sizes that the options claim
            generator, discriminator = build_networks(network, resolution)
    except (ArithmeticError, RuntimeError):
        raise InputError(f"{where}: its options describe no valid network") from None
    module = generator if part.is_generator else discriminator
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    tensors = {}
    for name, weight in part.weights.items():
        if weight.shape != shapes[name]:
            raise InputError(f"{where}: {name} is {weight.shape}, not {shapes[name]} as its options say")
        with np.errstate(over="ignore"):
            tensors[name] = torch.from_numpy(np.array(weight, np.float32, order="C"))
        if not tensors[name].isfinite().all():
            raise InputError(f"{where}: {name} holds numbers that are not finite")
    module.load_state_dict(tensors, assign=True)
    return module
