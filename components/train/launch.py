"""Where a phase trains: in this process, or by torchrun in one process a GPU."""

import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from components.object_store import open_store
from components.stages import Task
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
    identity: str
    dataset: Path
    init: Path | None
    snapshots: str  # their folder, or s3:// address
    checkpoint: Path
    history: Path
    grids: Path

    @classmethod
    def of(
        cls,
        config: Config,
        task: Task,
        identity: str,
        paths: Mapping[str, Path],
        dataset: Path,
        snapshots: str,
    ) -> "PhaseJob":
        """The training of `task`, whose files lie at `paths`, by their names."""
        key = str(task.key)
        init = None if config.phase(key).is_first else paths["init"]
        made = paths["checkpoint"], paths["history"], paths["grids"]
        return cls(config, key, identity, dataset, init, snapshots, *made)

    def run(self, ranks: Ranks = Ranks()) -> None:
        """Train, as one of `ranks`."""
        train(
            self.config,
            self.key,
            self.identity,
            self.dataset,
            self.init,
            open_store(self.snapshots),
            self.checkpoint,
            self.history,
            self.grids,
            ranks,
        )


def launch(job: PhaseJob, gpus: int) -> None:
    """Train in this process, or in one for each of several GPUs of this machine (of its CPU, if it has none).

    Raises what a rank raises: InputError, or Interrupted with all saved.
    """
    if gpus == 1:
        job.run()
    else:
        _torchrun(job, gpus)


def gpus_here() -> int:
    """As many as PROGAN_GPUS says, which a pod is given by the cluster profile; 1 where nobody says."""
    said = os.environ.get("PROGAN_GPUS", "1")
    if not said.isdecimal() or int(said) < 1:
        raise InputError(f"PROGAN_GPUS={said}: a number of GPUs is expected, 1 or more")
    return int(said)


def _torchrun(job: PhaseJob, gpus: int) -> None:
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    _check(job, gpus)
    with tempfile.TemporaryDirectory(prefix="progan-") as name, _signals_restored():
        folder = Path(name)
        write_job(job, folder)
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // gpus)))
        os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(GRACE_SECONDS))
        here = ["--standalone", "--local-addr=localhost", f"--nproc-per-node={gpus}"]
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


def _check(job: PhaseJob, gpus: int) -> None:
    """Refuse before anything starts what every rank would refuse."""
    check_shares(job.config, job.config.phase(job.key), gpus)
    if 0 < (here := torch.cuda.device_count()) < gpus:
        raise InputError(f"--gpus {gpus}: this machine has {here}; ask for no more")


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
