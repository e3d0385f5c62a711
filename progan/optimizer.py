"""Adam over one flat vector per network: a few large kernels instead of hundreds of small ones."""

import torch
from torch import Tensor, nn

from progan.distributed import Ranks


def flatten(module: nn.Module) -> Tensor:
    """Make all parameters of `module` views of one new contiguous vector; return that vector."""
    parameters = list(module.parameters())
    flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
    for parameter, piece in zip(parameters, _pieces(flat, module), strict=True):
        parameter.data = piece
    return flat


def named_pieces(flat: Tensor, module: nn.Module) -> dict[str, Tensor]:
    """Views of `flat` with the names and shapes of the parameters of `module`."""
    names = [name for name, _ in module.named_parameters()]
    return dict(zip(names, _pieces(flat, module), strict=True))


def _pieces(flat: Tensor, module: nn.Module) -> list[Tensor]:
    sizes = [parameter.numel() for parameter in module.parameters()]
    shapes = [parameter.shape for parameter in module.parameters()]
    return [piece.view(shape) for piece, shape in zip(flat.split(sizes), shapes, strict=True)]


class Adam:
    """Adam (Kingma & Ba 2015) that skips and counts updates whose gradient is not finite.

    All state is in tensors and nothing waits for the device, so a step can be captured or compiled.
    """

    def __init__(
        self, module: nn.Module, betas: tuple[float, float], epsilon: float, ranks: Ranks = Ranks()
    ) -> None:
        self.module, self.ranks = module, ranks
        self.parameters = list(module.parameters())
        self.values = flatten(module)
        self.betas, self.epsilon = betas, epsilon
        self.first_moment = torch.zeros_like(self.values)
        self.second_moment = torch.zeros_like(self.values)
        self.updates = self.values.new_zeros(())
        self.skipped = self.values.new_zeros(())

    def reset(self) -> None:
        """Set the moments to zero, as the authors' code does at the start and the end of a fade."""
        for tensor in (self.first_moment, self.second_moment, self.updates):
            tensor.zero_()

    def gradient(self, loss: Tensor, retain_graph: bool = False) -> Tensor:
        """d loss / d parameters, flat, averaged over the ranks; zero for parameters that are not used."""
        gradients = torch.autograd.grad(
            loss, self.parameters, retain_graph=retain_graph, allow_unused=True, materialize_grads=True
        )
        return self.ranks.mean_(torch.cat([gradient.flatten() for gradient in gradients]))

    @torch.no_grad()
    def step(self, gradient: Tensor, learning_rate: Tensor) -> None:
        """Update the parameters in place; if any element of `gradient` is not finite, only count a skip."""
        finite = gradient.isfinite().all()
        beta1, beta2 = self.betas
        updates = self.updates + 1
        first = torch.lerp(gradient, self.first_moment, beta1)
        second = torch.lerp(gradient.square(), self.second_moment, beta2)
        deviation = (second / (1 - beta2**updates)).sqrt() + self.epsilon
        values = self.values - learning_rate / (1 - beta1**updates) * first / deviation
        for old, new in (
            (self.values, values),
            (self.first_moment, first),
            (self.second_moment, second),
            (self.updates, updates),
        ):
            old.copy_(torch.where(finite, new, old))
        self.skipped += ~finite

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
