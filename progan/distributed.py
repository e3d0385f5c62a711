"""The processes (ranks) that train one phase together, each on its own device.

Every rank holds the same networks, draws the same random numbers for the whole minibatch and takes its share
of it. Gradients and statistics are averaged over the ranks, so all ranks stay equal bit by bit.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from progan.config import Config, PhaseConfig
from progan.errors import InputError

PATIENCE = timedelta(hours=6)  # the other ranks wait while the first measures or stores a snapshot


@dataclass(frozen=True)
class Ranks:
    """The rank of this process and the number of ranks; a single rank communicates with nobody.

    Tensors are exchanged between the devices that hold them (NCCL for GPUs, gloo for CPUs). The decisions of
    the training loop are exchanged between the CPUs (`control`, always gloo), so nothing waits for a device.
    """

    rank: int = 0
    size: int = 1
    control: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which alone measures, writes files and prints."""
        return self.rank == 0

    def share(self, whole: Tensor) -> Tensor:
        """This rank's share of a minibatch: [N, …] → [N / size, …], every size-th element.

        The images of a minibatch-stddev group are N / group apart. If the group size divides the share,
        a group of the share is therefore also a group of the whole minibatch.
        """
        return whole if self.size == 1 else whole[self.rank :: self.size]

    def mean_(self, tensor: Tensor) -> Tensor:
        """Average `tensor` over the ranks, in place; every rank gets the same bits."""
        if self.size > 1:
            dist.all_reduce(tensor)
            tensor /= self.size
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set on any rank. Every rank waits here for all others."""
        if self.size == 1:
            return flag
        flags = torch.tensor(int(flag))
        dist.all_reduce(flags, group=self.control)
        return bool(flags)

    def tell(self, value: Any) -> Any:
        """The first rank's `value`, on every rank. It must be serialisable as JSON."""
        if self.size == 1:
            return value
        content = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)
        length = torch.tensor(len(content))
        dist.broadcast(length, 0, group=self.control)
        if not self.is_first:
            content = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(content, 0, group=self.control)
        return json.loads(bytes(content.tolist()))

    def share_arrays(self, make: Callable[[], tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
        """The arrays that the first rank makes, on every rank: mapped from files, so in memory only once."""
        if self.size == 1:
            return make()
        folder = Path(self.tell(tempfile.mkdtemp(prefix="progan-") if self.is_first else None))
        try:
            if self.is_first:
                for position, array in enumerate(make()):
                    np.save(folder / f"{position}.npy", array)
            self.wait()
            arrays = tuple(np.load(file, mmap_mode="c") for file in sorted(folder.iterdir()))
            self.wait()
        finally:
            if self.is_first:
                shutil.rmtree(folder)  # what is mapped stays readable
        return arrays

    def copy_first_(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite `tensors`, in place, with those of the first rank."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def wait(self) -> None:
        """Wait until every rank has called this."""
        if self.size > 1:
            dist.barrier(self.control)


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun started, and select this process's GPU."""
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
    """Raise InputError unless the minibatch and its minibatch-stddev groups divide evenly among `ranks`."""
    where, group = f"phases.{phase.key}.minibatch", config.network.mbstd_group_size
    share, rest = divmod(phase.minibatch, ranks)
    if rest:
        raise InputError(
            f"{where}: {phase.minibatch} images are not shared evenly by {ranks} ranks; make it a multiple"
        )
    if group and share % min(group, share):
        raise InputError(
            f"{where}: {share} of {phase.minibatch} images on each of {ranks} ranks are not a multiple of "
            f"network.mbstd_group_size, {group}; change the minibatch or train with fewer ranks"
        )


def check_continued(config: Config, phase: PhaseConfig, before: int, ranks: int) -> None:
    """Raise InputError if `ranks` ranks would turn a snapshot of `before` ranks into another result.

    With most networks only the rounding of sums depends on the number of ranks, but some have a layer that
    sees no more than a rank's share of the minibatch.
    """
    network = config.network
    groups = {min(network.mbstd_group_size, phase.minibatch // size) for size in (before, ranks)}
    dependent = [*network.sees_the_minibatch, *(["mbstd_group_size"] if len(groups) > 1 else [])]
    if dependent and before != ranks:
        raise InputError(
            f"{phase.key}: {before} ranks wrote its snapshot, and with network.{dependent[0]} that number "
            f"changes the result; train with {before} ranks, or delete its snapshots to start over"
        )
