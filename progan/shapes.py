"""Networks that have shapes but no values: they take neither time nor memory."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from progan.network_config import NetworkConfig
from progan.networks import Discriminator, Generator, build_generator, build_networks


class _WithoutValues(TorchFunctionMode):
    """Initial weights are neither drawn nor scaled: for both, "meta" needs torch._dynamo, 2.5 s to import."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.mul:
            return args[0]
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))


def without_values(network: NetworkConfig, resolution: int) -> Generator:
    """A generator on the device "meta", for weights that are to be loaded with assign=True."""
    with torch.device("meta"), _WithoutValues():
        return build_generator(network, resolution)


def shapes_of_networks(network: NetworkConfig, resolution: int) -> tuple[Generator, Discriminator]:
    """The networks of a phase at `resolution`, on the device "meta"."""
    with torch.device("meta"), _WithoutValues():
        return build_networks(network, resolution)
