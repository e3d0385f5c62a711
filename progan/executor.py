"""How iterations are executed: operation by operation or, on a GPU, as a CUDA graph with the same results."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from progan.config import TrainingConfig
from progan.models import Models
from progan.step import Due, Minibatch, iteration

TRIAL = 3  # iterations after which a graph's result must equal that of single operations

Minibatches = Sequence[Minibatch]


class Executor:
    """Runs iterations of training.

    On a GPU the launches of an iteration's hundreds of kernels take longer than the kernels themselves at low
    resolutions. The whole iteration is therefore captured as a CUDA graph: while layers fade in and again
    when they no longer do, for each combination of lazy terms. A graph is only used after a trial: from the
    same state it must give the same bits as single operations. Otherwise training goes on without it, and
    `notice` is told why in a line.
    """

    def __init__(self, models: Models, learning_rate: Tensor, training: TrainingConfig) -> None:
        self.models, self.learning_rate, self.training = models, learning_rate, training
        self.notice: Callable[[str], None] = print
        self.captures = learning_rate.is_cuda
        self.replays = 0  # iterations that ran as a graph
        self._graphs: dict[Due, _Graph | None] = {}  # None: it cannot be used
        self._graphs_fade: bool | None = None  # None: nothing has been captured yet

    def run(self, minibatches: Minibatches, due: Due = Due()) -> None:
        """One iteration with these minibatches and the lazy terms that are due."""
        fades = {minibatch.alpha is not None for minibatch in minibatches}
        if not self.captures or len(fades) > 1:
            self.run_operations(minibatches, due)
            return
        if fades != {self._graphs_fade}:
            (self._graphs_fade,) = fades
            self._graphs = {}  # frees their memory before the next capture
        if due not in self._graphs:
            self._graphs[due] = self._captured(minibatches, due)
        if graph := self._graphs[due]:
            graph.replay(minibatches)
            self.replays += 1
        else:
            self.run_operations(minibatches, due)

    def run_operations(self, minibatches: Minibatches, due: Due = Due()) -> None:
        iteration(self.models, minibatches, self.learning_rate, self.training, due)

    def _captured(self, minibatches: Minibatches, due: Due) -> "_Graph | None":
        """A graph of the iteration; None if it cannot be captured or differs. The state stays as it was."""
        state = self.models.state()
        before = _copies(state)
        try:
            run = partial(self.run_operations, due=due)
            expected = self._after_trial(run, minibatches)
            _restore(state, before)
            graph = _Graph(run, minibatches, self.models)
            result = self._after_trial(graph.replay, minibatches)
        except RuntimeError as error:
            self.notice(f"the step runs without a CUDA graph, slower: {str(error).splitlines()[0]}")
            return None
        finally:
            _restore(state, before)
        if all(map(torch.equal, expected, result)):
            return graph
        self.notice("the step runs without a CUDA graph, slower: the graph's results differ")
        return None

    def _after_trial(self, run: Callable[[Minibatches], None], minibatches: Minibatches) -> list[Tensor]:
        """The state after a few iterations, each with the minibatches' elements in another order."""
        for turn in range(TRIAL):
            self.models.randomness.seed(turn)
            run([_rotated(minibatch, turn) for minibatch in minibatches])
        return _copies(self.models.state())


class _Graph:
    """An iteration as a CUDA graph, which reads its inputs from tensors of its own."""

    def __init__(self, run: Callable[[Minibatches], None], minibatches: Minibatches, models: Models) -> None:
        self.inputs = [Minibatch.of(_copies(minibatch.tensors)) for minibatch in minibatches]
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(models.randomness.generator)
        with torch.cuda.graph(self.graph):
            run(self.inputs)

    def replay(self, minibatches: Minibatches) -> None:
        for own, given in zip(self.inputs, minibatches, strict=True):
            for to, tensor in zip(own.tensors, given.tensors, strict=True):
                to.copy_(tensor)
        self.graph.replay()


def _rotated(minibatch: Minibatch, turn: int) -> Minibatch:
    return Minibatch.of([tensor.roll(turn, 0) if tensor.dim() else tensor for tensor in minibatch.tensors])


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.clone() for tensor in tensors]


def _restore(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
