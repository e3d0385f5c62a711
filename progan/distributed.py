"""The processes that train one phase together, each on a device of its own.

Every rank holds the same networks and draws the same randomness for the whole minibatch, of which it takes
its share; gradients and statistics are means over the ranks, so that all of them stay equal bit by bit.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from progan.config import Config, PhaseConfig
from progan.errors import InputError

PATIENCE = timedelta(hours=6)  # for the first rank while it measures, or its snapshot is on the way


@dataclass(frozen=True)
class Ranks:
    """Which rank this process is, and of how many; of one alone nothing is asked.

    Tensors are exchanged where they are (NCCL for GPUs, gloo for CPUs). What the loop has to know is
    exchanged between the CPUs (`control`, always gloo), so that nothing waits for a device.
    """

    rank: int = 0
    size: int = 1
    control: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that measures, writes and speaks."""
        return self.rank == 0

    def share(self, whole: Tensor) -> Tensor:
        """This rank's part of what the whole minibatch has: [N, …] → [N / size, …], every size-th.

        As the images of a minibatch-stddev group are N / group apart, a group that divides the share is a
        group of the whole minibatch.
        """
        return whole if self.size == 1 else whole[self.rank :: self.size]

    def mean_(self, tensor: Tensor) -> Tensor:
        """The mean over the ranks, in place and the same bits on all of them."""
        if self.size > 1:
            dist.all_reduce(tensor)
            tensor /= self.size
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set on any rank. All are here at once: none runs ahead."""
        if self.size == 1:
            return flag
        flags = torch.tensor(int(flag))
        dist.all_reduce(flags, group=self.control)
        return bool(flags)

    def tell(self, value: Any) -> Any:
        """The first rank's `value`, anything that JSON can say."""
        if self.size == 1:
            return value
        content = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)
        length = torch.tensor(len(content))
        dist.broadcast(length, 0, group=self.control)
        if not self.is_first:
            content = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(content, 0, group=self.control)
        return json.loads(bytes(content.tolist()))

    def copy_first_(self, tensors: Iterable[Tensor]) -> None:
        """Let `tensors` be the first rank's, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def wait(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            dist.barrier(self.control)


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the other processes that torchrun started, and take the GPU that is this one's."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    control = dist.new_group(timeout=PATIENCE, backend="gloo")
    assert isinstance(control, dist.ProcessGroup)
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), control)
    yield ranks
    ranks.wait()
    dist.destroy_process_group()


def check_shares(config: Config, phase: PhaseConfig, ranks: int) -> None:
    """Raise InputError when so many ranks cannot share the minibatch, or its groups, evenly."""
    where, group = f"phases.{phase.key}.minibatch", config.network.mbstd_group_size
    share, rest = divmod(phase.minibatch, ranks)
    if rest:
        raise InputError(
            f"{where}: {phase.minibatch} images are not shared evenly by {ranks} ranks; make it a multiple"
        )
    if group and share % min(group, share):
        raise InputError(
            f"{where}: {share} of {phase.minibatch} images on each of {ranks} ranks are no multiple of "
            f"network.mbstd_group_size, {group}; change the minibatch or train with fewer ranks"
        )


def check_continued(config: Config, phase: PhaseConfig, before: int, ranks: int) -> None:
    """Raise InputError when `ranks` going on with what `before` ranks began would not end as they would.

    Most networks end the same but for the rounding of sums; some have a part that sees a rank's share alone.
    """
    network = config.network
    groups = {min(network.mbstd_group_size, phase.minibatch // size) for size in (before, ranks)}
    seeing_shares = {
        "generator_norm: batch": network.generator_norm == "batch",
        "minibatch_discrimination": network.minibatch_discrimination > 0,
        "mbstd_group_size": len(groups) > 1,
    }
    for name, present in seeing_shares.items():
        if present and before != ranks:
            raise InputError(
                f"{phase.key}: its snapshot is of {before} ranks, and with network.{name} that number "
                f"changes the result; train with {before} again, or delete its snapshots to begin anew"
            )
