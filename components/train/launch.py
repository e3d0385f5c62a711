"""Where a phase trains: in this process, or by torchrun in one process a GPU."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from components.object_store import open_store
from components.train.stage import train
from progan import errors
from progan.config import Config
from progan.distributed import Ranks, check_shares
from progan.errors import InputError, Interrupted
from progan.files import read_json, write_json

GRACE_SECONDS = 120  # for the ranks to save their state when they are to stop


@dataclass(frozen=True)
class PhaseJob:
    """The arguments of `train`, as they are handed to a rank in another process."""

    config: Config
    key: str
    dataset: Path
    init: Path | None
    snapshots: str  # their folder, or s3:// address
    out: Path
    history: Path
    grids: Path

    def run(self, ranks: Ranks = Ranks()) -> None:
        """Train, as one of `ranks`."""
        files = self.dataset, self.init, open_store(self.snapshots), self.out, self.history, self.grids
        train(self.config, self.key, *files, ranks)


class Launcher(Protocol):
    """Runs all ranks of a job to their end, here or elsewhere.

    A third form belongs beside the two below: one that hands the job to Kubeflow Trainer as a TrainJob, whose
    pods start `components.train.rank` as torchrun does here.
    """

    def run(self, job: PhaseJob) -> None:
        """Raises what a rank raises: InputError, or Interrupted with all saved."""


def launcher(gpus: int) -> Launcher:
    """What trains on so many GPUs of this machine."""
    return InProcess() if gpus == 1 else Torchrun(gpus)


def gpus_here() -> int:
    """As many as PROGAN_GPUS says, which a pod is given by the cluster profile; 1 where nobody says."""
    said = os.environ.get("PROGAN_GPUS", "1")
    if not said.isdecimal() or int(said) < 1:
        raise InputError(f"PROGAN_GPUS={said}: a number of GPUs is expected, 1 or more")
    return int(said)


class InProcess:
    """One rank, in this process, on its GPU or its CPU."""

    def run(self, job: PhaseJob) -> None:
        job.run()


@dataclass(frozen=True)
class Torchrun:
    """One process a GPU of this machine; as many on the CPU of a machine that has none."""

    gpus: int

    def run(self, job: PhaseJob) -> None:
        from torch.distributed.elastic.multiprocessing import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.run import parse_args, run

        self._check(job)
        with tempfile.TemporaryDirectory(prefix="progan-") as name, _signals_restored():
            folder = Path(name)
            write_job(job, folder)
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self.gpus)))
            os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(GRACE_SECONDS))
            here = ["--standalone", "--local-addr=localhost", f"--nproc-per-node={self.gpus}"]
            try:
                run(parse_args([*here, "-m", "components.train.rank", name]))
            except SignalException as stopped:
                raise told(folder) or _cut_off(
                    job, f"{stopped.sigval.name} came before its state could be saved"
                ) from None
            except ChildFailedError as failed:
                ends = {rank: failure.exitcode for rank, failure in failed.failures.items()}
                killed = [rank for rank, end in ends.items() if end == -signal.SIGKILL]
                if error := told(folder):
                    raise error from None
                if killed:
                    raise _cut_off(job, f"rank {killed[0]} was killed") from None
                raise

    def _check(self, job: PhaseJob) -> None:
        """Refuse before anything starts what every rank would refuse."""
        check_shares(job.config, job.config.phase(job.key), self.gpus)
        if 0 < (here := torch.cuda.device_count()) < self.gpus:
            raise InputError(f"--gpus {self.gpus}: this machine has {here}; ask for no more")


def _cut_off(job: PhaseJob, how: str) -> Interrupted:
    return Interrupted(f"{job.key}: {how}; run again to go on from the newest snapshot")


@contextmanager
def _signals_restored() -> Iterator[None]:
    """Put the signal handlers back that torchrun replaces."""
    numbers = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ------------------------------------------------------------------------------------------------
# What passes between the launcher and its ranks, in a folder


def write_job(job: PhaseJob, folder: Path) -> None:
    from pydantic import TypeAdapter

    (folder / "job.json").write_bytes(TypeAdapter(PhaseJob).dump_json(job))


def read_job(folder: Path) -> PhaseJob:
    from pydantic import TypeAdapter

    return TypeAdapter(PhaseJob).validate_json((folder / "job.json").read_bytes())


def tell(error: InputError | Interrupted, rank: int, folder: Path) -> None:
    """Let the launcher know how `rank` ended."""
    write_json(folder / f"{rank}.error.json", {"type": type(error).__name__, "message": str(error)})


def told(folder: Path) -> InputError | Interrupted | None:
    """What the first of the ranks that told anything ended with; wrong input counts before a stop."""
    ends = [read_json(path) for path in sorted(folder.glob("*.error.json"))]
    ends.sort(key=lambda end: end["type"] == Interrupted.__name__)
    return getattr(errors, ends[0]["type"])(ends[0]["message"]) if ends else None
