"""Adam over one flat vector per network: a single fused kernel instead of hundreds of small ones.

The weights of convolutions lie in it channels last, as the kernels of convolutions want them.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from progan.distributed import Ranks
from progan.losses import LazyTerm


def flatten(module: nn.Module) -> Tensor:
    """Make all parameters of `module` views of one new contiguous vector; return that vector."""
    parameters = list(module.parameters())
    flat = joined(parameters)
    for parameter, piece in zip(parameters, _pieces(flat, module), strict=True):
        parameter.data = piece
    return flat


def joined(tensors: Iterable[Tensor]) -> Tensor:
    """The elements of parameters, or of their gradients, as one vector."""
    return torch.cat([_channels_last(tensor.detach()).flatten() for tensor in tensors])


def named_pieces(flat: Tensor, module: nn.Module) -> dict[str, Tensor]:
    """Views of `flat` with the names and shapes of the parameters of `module`."""
    names = [name for name, _ in module.named_parameters()]
    return dict(zip(names, _pieces(flat, module), strict=True))


def _pieces(flat: Tensor, module: nn.Module) -> list[Tensor]:
    shapes = [_channels_last(parameter).shape for parameter in module.parameters()]
    pieces = flat.split([shape.numel() for shape in shapes])
    return [_channels_first(piece.view(shape)) for piece, shape in zip(pieces, shapes, strict=True)]


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor


def _channels_first(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 3, 1, 2) if tensor.dim() == 4 else tensor


class Adam:
    """Adam (Kingma & Ba 2015) that skips and counts updates whose gradient is not finite.

    All state is in tensors and nothing waits for the device, so a step can be captured or compiled.
    """

    def __init__(
        self,
        module: nn.Module,
        betas: tuple[float, float],
        epsilon: float,
        ranks: Ranks = Ranks(),
        lazy: LazyTerm | None = None,
        rate: float = 1.0,
    ) -> None:
        """lazy: see LazyTerm. rate: a factor on the learning rate."""
        self.module, self.ranks = module, ranks
        self.lazy = lazy
        exponent = lazy.interval / (lazy.interval + 1) if lazy else 1.0
        self.rate = rate * exponent
        self.parameters = list(module.parameters())
        self.values = flatten(module)
        self.betas, self.epsilon = tuple(beta**exponent for beta in betas), epsilon
        self.first_moment = torch.zeros_like(self.values)
        self.second_moment = torch.zeros_like(self.values)
        self.updates = torch.zeros((), device=self.values.device)
        self.skipped = torch.zeros((), device=self.values.device)

    def reset(self) -> None:
        """Set the moments to zero, as the authors' code does at the start and the end of a fade."""
        for tensor in (self.first_moment, self.second_moment, self.updates):
            tensor.zero_()

    def gradient(self, loss: Tensor, statistics: Tensor, retain_graph: bool = False) -> tuple[Tensor, Tensor]:
        """d loss / d parameters, flat, and `statistics` [n], averaged over the ranks in one exchange.

        The gradient is zero for parameters that are not used.
        """
        gradients = torch.autograd.grad(
            loss, self.parameters, retain_graph=retain_graph, allow_unused=True, materialize_grads=True
        )
        gradient, means = self.ranks.mean_(joined([*gradients, statistics])).split(
            [len(self.values), len(statistics)]
        )
        return gradient, means

    @torch.no_grad()
    def step(self, gradient: Tensor, learning_rate: Tensor) -> None:
        """Update the parameters in place; if any element of `gradient` is not finite, only count a skip."""
        skip = (~gradient.isfinite().all()).float()
        adam(
            [self.values],
            [gradient],
            [self.first_moment],
            [self.second_moment],
            [],
            [self.updates],
            fused=True,
            capturable=gradient.is_cuda,
            found_inf=skip,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=learning_rate if self.rate == 1 else learning_rate * self.rate,
            weight_decay=0.0,
            eps=self.epsilon,
            maximize=False,
        )
        self.skipped += skip

    def state_dict(self) -> dict[str, Tensor]:
        """The moments by parameter name, and the numbers of updates and of skipped updates."""
        moments = {"first_moment": self.first_moment, "second_moment": self.second_moment}
        named = {
            f"{moment}.{name}": piece
            for moment, flat in moments.items()
            for name, piece in named_pieces(flat, self.module).items()
        }
        return named | {"updates": self.updates, "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])
