"""Start the training of a phase: in this process, or with torchrun in one process per GPU."""

import json
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from components.object_store import open_store
from components.stages import Task
from components.train.stage import STOP_SIGNALS, train
from progan import errors
from progan.config import Config
from progan.distributed import Ranks, check_shares
from progan.errors import InputError, Interrupted
from progan.files import read_json, write_json
from progan.progress import Forecast
from progan.validation import from_json

GRACE_SECONDS = 120  # for the ranks to save their state after a signal to stop


@dataclass(frozen=True)
class PhaseJob:
    """The arguments of `train`, in a form that can be passed to a rank in another process."""

    config: Config
    key: str
    identity: str
    dataset: Path
    init: Path | None
    snapshots: str  # folder or s3:// address
    checkpoint: Path
    history: Path
    grids: Path
    forecast: Forecast | None = None

    @classmethod
    def of(
        cls,
        config: Config,
        task: Task,
        identity: str,
        paths: Mapping[str, Path],
        dataset: Path,
        snapshots: str,
        forecast: Forecast | None = None,
    ) -> "PhaseJob":
        """The job of `task`; `paths` are those of its inputs and outputs, by name."""
        key = str(task.key)
        init = None if config.phase(key).is_first else paths["init"]
        outputs = paths["checkpoint"], paths["history"], paths["grids"]
        return cls(config, key, identity, dataset, init, snapshots, *outputs, forecast)

    def run(self, ranks: Ranks = Ranks()) -> None:
        """Train as one of `ranks`."""
        train(**vars(self) | {"snapshots": open_store(self.snapshots), "ranks": ranks})


def launch(job: PhaseJob, gpus: int) -> None:
    """Train on `gpus` GPUs, in one process each; a machine without GPUs uses its CPU in as many processes.

    Raises the InputError of a rank, or Interrupted if the training was stopped and has saved its state.
    """
    if gpus == 1:
        job.run()
    else:
        _torchrun(job, gpus)


def gpus_here() -> int:
    """The number of GPUs in PROGAN_GPUS, which the cluster profile sets in a pod; 1 if it is not set."""
    value = os.environ.get("PROGAN_GPUS", "1")
    if not value.isdecimal() or int(value) < 1:
        raise InputError(f"PROGAN_GPUS={value}: a number of GPUs is expected, 1 or more")
    return int(value)


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
        options = ["--standalone", "--local-addr=localhost", f"--nproc-per-node={gpus}"]
        try:
            run(parse_args([*options, "-m", "components.train.rank", name]))
        except SignalException as stopped:
            raise read_error(folder) or _interrupted(
                job, f"{stopped.sigval.name} came before its state could be saved"
            ) from None
        except ChildFailedError as failed:
            failures = failed.failures.items()
            killed = [rank for rank, failure in failures if failure.exitcode == -signal.SIGKILL]
            if error := read_error(folder):
                raise error from None
            if killed:
                raise _interrupted(job, f"rank {killed[0]} was killed") from None
            raise


def _check(job: PhaseJob, gpus: int) -> None:
    """Raise InputError, before any process is started, for what every rank would refuse."""
    check_shares(job.config, job.config.phase(job.key), gpus)
    if 0 < (available := torch.cuda.device_count()) < gpus:
        raise InputError(f"--gpus {gpus}: this machine has {available}; ask for no more")


def _interrupted(job: PhaseJob, how: str) -> Interrupted:
    return Interrupted(f"{job.key}: {how}; run again to go on from the newest snapshot")


@contextmanager
def _signals_restored() -> Iterator[None]:
    """Restore the signal handlers that torchrun replaces."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ------------------------------------------------------------------------------------------------
# Files between the launcher and its ranks


def write_job(job: PhaseJob, folder: Path) -> None:
    (folder / "job.json").write_text(json.dumps(asdict(job), default=str))


def read_job(folder: Path) -> PhaseJob:
    return from_json(PhaseJob, read_json(folder / "job.json"))


def write_error(error: InputError | Interrupted, rank: int, folder: Path) -> None:
    """Tell the launcher the error that ended `rank`."""
    write_json(folder / f"{rank}.error.json", {"type": type(error).__name__, "message": str(error)})


def read_error(folder: Path) -> InputError | Interrupted | None:
    """The error of the lowest rank that has written one, an InputError rather than an Interrupted."""
    errors_of_ranks = [read_json(path) for path in sorted(folder.glob("*.error.json"))]
    errors_of_ranks.sort(key=lambda error: error["type"] == Interrupted.__name__)
    first = next(iter(errors_of_ranks), None)
    return None if first is None else getattr(errors, first["type"])(first["message"])
