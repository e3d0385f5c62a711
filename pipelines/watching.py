"""`progan watch`: the live records of phases, here or of a run on a cluster."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from components.object_store import open_store
from components.object_store.dataset import expected_manifest
from components.results import Results, trace
from components.run_record import RunRecord
from components.train.live_state import BEFORE, FOLDER, GRID, PAGE, PhaseRecord, read_record, record_names
from progan.config import parse
from progan.errors import InputError
from progan.progress import duration
from progan.snapshots import folder_name
from progan.store import FolderStore


def records(snapshots: str, names: Sequence[str] | None = None) -> list[PhaseRecord]:
    """The records below `snapshots`, newest first; only those of the folders `names`, if they are given.

    Raises InputError if there is none.
    """
    names = record_names(snapshots) if names is None else names
    records = [record for name in names if (record := read_record(snapshots, name))]
    if not records:
        raise InputError(f"{snapshots}: no phase has begun to train; run dvc repro, or give --snapshots")
    return sorted(records, key=lambda record: record.live.updated, reverse=True)


def folders_of_run(run: str, results: str, dataset: str) -> list[str]:
    """The names of the folders of the run's phases, as far as their identities are known."""
    record = RunRecord.read(results, run)
    if record is None or not record.dataset:
        raise InputError(f"{run}: has not begun to train; nothing of it is in {results}")
    config = parse(record.params, f"the parameters of {run}")
    steps = trace(config, expected_manifest(dataset, record.dataset), Results(results))
    return [
        folder_name(str(step.task.key), step.identity)
        for step in steps
        if step.task.stage == "train" and step.identity
    ]


def as_text(record: PhaseRecord) -> str:
    """Where the phase stands, in a line; its page and what is wrong below."""
    live = record.live
    rate = live.newest["images_per_second"]
    parts = (
        live.line,
        f"{rate:,.0f} images/s" if rate else "",
        f"{duration(live.seconds_left)} left" if live.state == "training" and live.seconds_left else "",
        f"{duration(time.time() - live.updated)} ago",
    )
    problems = [f"  ! {problem.what}: {problem.remedy}" for problem in live.problems]
    return "\n".join([" · ".join(filter(None, parts)), f"  {record.page}", *problems])


def page_here(record: PhaseRecord) -> Path:
    """The page as a file of this machine; from S3 it is fetched, with its pictures."""
    store = open_store(record.uri)
    if isinstance(store, FolderStore):
        return Path(record.page).resolve()
    folder = Path(tempfile.mkdtemp(prefix="progan-watch-"))
    for name in (GRID, BEFORE, PAGE):
        store.download(f"{record.name}/{FOLDER}/{name}", folder / name)
    return folder / PAGE
