"""CUDA graphs of the iteration: what they give, when they are used, and what happens when they cannot be."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch

from progan import executor
from progan.arithmetic import arithmetic
from progan.config import PhaseConfig, parse
from progan.device import best_device
from progan.errors import Interrupted
from progan.executor import Executor
from progan.snapshots import SnapshotFolder
from progan.step import Minibatch, iteration
from progan.store import FolderStore
from progan.training import PhaseTrainer
from tests.conftest import noise_images, shrunk_params
from tests.progan import ranks
from tests.progan.ranks import tensors_of
from tests.progan.settings import SETTINGS, changed

FADING = PhaseConfig(8, "checkpoints/r0004", 0.072, 0.048, 8, 0.001)  # 9 iterations of the fade, 6 after it
PRECISIONS = {precision: {"precision": precision} for precision in ("bfloat16", "tf32")}
JOINT = {"joint, noise": {"loss": "least-squares", "loss_parameters": {}, "update": "joint"}}
GRAPHS = SETTINGS | PRECISIONS | JOINT


def make_trainer(config, noise, **changes):
    config, phase = changed(config, FADING, **changes)
    trainer = PhaseTrainer(config, phase, noise, "data", None, best_device(), np.arange(64) % 5)
    if trainer.models.noise:
        trainer.models.noise.score.fill_(0.95)
    return trainer


def train(trainer, iterations=15):
    with arithmetic(trainer.config.training.precision):
        while trainer.images_shown < FADING.minibatch * iterations:
            trainer.iterate()
    return tensors_of(trainer)


def assert_same(first, second):
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.gpu
@pytest.mark.parametrize("setting", GRAPHS)
def test_graphs_give_the_bits_of_single_operations(small_config, noise, setting):
    """Through the fade and after it; an iteration across its end, with several critic steps, has no graph."""
    graphs, operations = (make_trainer(small_config, noise, **GRAPHS[setting]) for _ in range(2))
    notices = []
    graphs.executor.notice = notices.append
    operations.executor.run = operations.executor.run_operations
    assert_same(train(graphs), train(operations))
    assert notices == []
    assert graphs.executor.replays == math.ceil(15 / graphs.config.training.critic_steps)
    assert operations.executor.replays == 0


@pytest.mark.gpu
@pytest.mark.parametrize("setting", ["default", "joint, noise", "bfloat16", "StyleGAN2"])
def test_interrupted_equals_uninterrupted(small_config, noise, tmp_path, setting):
    def new():
        return make_trainer(small_config, noise, **GRAPHS[setting])

    whole, first, second = new(), new(), new()
    whole.train(SnapshotFolder(FolderStore(tmp_path / "a"), "r0008", "data"), ranks.hooks())
    folder = SnapshotFolder(FolderStore(tmp_path / "b"), "r0008", "data")
    with pytest.raises(Interrupted):
        first.train(folder, ranks.hooks(40, first))
    second.train(folder, ranks.hooks())
    assert_same(tensors_of(second), tensors_of(whole))
    assert whole.executor.replays == 15
    assert [row.swd for row in second.history] == [row.swd for row in whole.history]


def waiting(self, minibatches, due):
    iteration(self.models, minibatches, self.learning_rate, self.training, due)
    self.models.sums.sum().item()


def stale(self, minibatches):
    self.graph.replay()


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("changed", "method", "why"),
    [
        (Executor, "run_operations", r"[^\n]+"),
        (executor._Graph, "replay", "the graph's results differ"),
    ],
    ids=["a step that waits for the device", "a graph with stale inputs"],
)
def test_without_a_graph(small_config, noise, monkeypatch, changed, method, why):
    expected = train(make_trainer(small_config, noise), 4)
    trainer = make_trainer(small_config, noise)
    notices = []
    trainer.executor.notice = notices.append
    monkeypatch.setattr(changed, method, waiting if changed is Executor else stale)
    assert_same(train(trainer, 4), expected)
    (notice,) = notices
    assert re.fullmatch(f"the step runs without a CUDA graph, slower: {why}", notice)
    assert trainer.executor.replays == 0


class Recording:
    """In place of a graph, where there is no GPU: replays the operations on tensors of its own."""

    made = 0

    def __init__(self, run, minibatches, models):
        Recording.made += 1
        self.inputs = [Minibatch.of([tensor.clone() for tensor in each.tensors]) for each in minibatches]
        self.run = run

    def replay(self, minibatches):
        for own, given in zip(self.inputs, minibatches, strict=True):
            for to, tensor in zip(own.tensors, given.tensors, strict=True):
                to.copy_(tensor)
        self.run(self.inputs)


class Stale(Recording):
    def replay(self, minibatches):
        self.run(self.inputs)


class NoMemory(Recording):
    def __init__(self, *given):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nSee the documentation.")


@pytest.fixture(scope="module")
def trained_by_operations():
    """What `small_config` ends in on the CPU, which has no graphs."""
    small_config = parse(shrunk_params(), "params.yaml")
    return train(PhaseTrainer(small_config, FADING, noise_images(), "data", None, torch.device("cpu")))


@pytest.mark.parametrize(
    ("graph", "replays", "notices"),
    [
        (Recording, 15, []),
        (Stale, 0, 2 * ["the step runs without a CUDA graph, slower: the graph's results differ"]),
        (
            NoMemory,
            0,
            2 * ["the step runs without a CUDA graph, slower: CUDA out of memory. Tried to allocate 2 GiB."],
        ),
    ],
)
def test_when_a_graph_is_used(
    small_config, noise, trained_by_operations, monkeypatch, graph, replays, notices
):
    """A trial changes nothing; one graph serves the fade, another the rest; without one, a line says why."""
    monkeypatch.setattr(executor, "_Graph", graph)
    monkeypatch.setattr(Recording, "made", 0)
    trainer = PhaseTrainer(small_config, FADING, noise, "data", None, torch.device("cpu"))
    trainer.executor.captures = True
    said = []
    trainer.executor.notice = said.append
    assert_same(train(trainer), trained_by_operations)
    assert (trainer.executor.replays, said) == (replays, notices)
    assert Recording.made == (0 if graph is NoMemory else 2)


def test_an_iteration_across_the_end_of_a_fade_has_no_graph(small_config, noise, monkeypatch):
    monkeypatch.setattr(executor, "_Graph", Recording)
    training = dataclasses.replace(small_config.training, critic_steps=2)
    config = dataclasses.replace(small_config, training=training)
    trainer = PhaseTrainer(config, FADING, noise, "data", None, torch.device("cpu"))
    trainer.executor.captures = True
    for expected in (1, 2, 3, 4, 4, 5, 6):  # the fade ends with the first half of the fifth
        trainer.iterate()
        assert trainer.executor.replays == expected


def test_on_a_cpu_nothing_is_captured(small_config, noise):
    trainer = PhaseTrainer(small_config, FADING, noise, "data", None, torch.device("cpu"))
    trainer.iterate()
    assert trainer.executor.replays == 0
