"""The history of a phase: what training says of itself, a row at every tick, and what it adds up to."""

import csv
import io
import typing
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from progan.errors import InputError
from progan.files import atomic_file, read_bytes


@dataclass(frozen=True)
class Readings:
    """What the machine says when a row is written; None: not read, or not to be had."""

    time: float | None = None  # seconds since 1970
    device: str | None = None  # the GPU's name, or "CPU"
    gpus: int | None = None  # 0 on a CPU
    gpu_hour_price: str | None = None  # of one GPU, such as "1.8 USD"
    gpu_percent: int | None = None  # how busy the first GPU is
    gpu_memory_gib: float | None = None  # the most that the process has allocated on the first GPU
    cpu_percent: float | None = None  # of the process since the row before, 100 for each core
    memory_gib: float | None = None  # of the process
    graph_replays: int | None = None  # iterations that it ran as a CUDA graph; 0: operation by operation


@dataclass(frozen=True)
class Row:
    """One tick. Losses, scores and the gradient norm are means since the row before."""

    kimg: float  # shown since the first phase began
    images: int  # shown in this phase
    alpha: float
    learning_rate: float
    minibatch: int
    d_loss: float | None  # None: no update since the row before
    g_loss: float | None
    real_score: float | None
    fake_score: float | None
    gradient_norm: float | None  # None: the loss has no use for it, either
    skipped: int  # updates in this phase whose gradients were no finite numbers
    seconds: float  # of training in this phase, without the time between an interruption and going on
    images_per_second: float | None  # since the row before
    swd: float | None  # of few images, × 1000; None: not measured at this row
    machine: Readings = Readings()

    @property
    def columns(self) -> dict[str, Any]:
        """All values by the names of their columns."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "machine"}
        return own | asdict(self.machine)

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> "Row":
        """The row with these columns: `columns` undone."""
        readings = {field.name: columns.get(field.name) for field in fields(Readings)}
        own = {field.name: columns[field.name] for field in fields(cls) if field.name != "machine"}
        return cls(**own, machine=Readings(**readings))


@dataclass(frozen=True)
class History:
    """The rows of one phase, in order; none where weights were imported."""

    rows: tuple[Row, ...] = ()

    @classmethod
    def read(cls, path: Path) -> "History":
        """The history in the CSV file `path`; an empty one if there is no such file."""
        again = f"dvc checkout --force {path} brings it back"
        return cls.parse(read_bytes(path, again), str(path), again) if path.exists() else cls()

    @classmethod
    def parse(cls, content: bytes, where: str, remedy: str) -> "History":
        """The history that is `content` as CSV. where, remedy: for the InputError if it is none."""
        try:
            lines = io.StringIO(content.decode(), newline="")
            return cls(tuple(Row.of(_parsed(row)) for row in csv.DictReader(lines)))
        except (KeyError, ValueError, csv.Error) as error:
            raise InputError(f"{where}: not a phase's history ({error}); {remedy}") from None

    @property
    def csv(self) -> str:
        """The rows as CSV; the price has a column if any row has one."""
        priced = any(row.machine.gpu_hour_price for row in self.rows)
        names = [name for name in COLUMNS if name != "gpu_hour_price" or priced]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row.columns for row in self.rows)
        return text.getvalue()

    def write(self, path: Path) -> None:
        """Write the rows as CSV, atomically."""
        with atomic_file(path) as beside:
            beside.write_bytes(self.csv.encode())

    @property
    def began(self) -> float | None:
        """When training began, in seconds since 1970; None if nobody noted it."""
        return self.rows[0].machine.time if self.rows else None

    @property
    def ended(self) -> float | None:
        return self.rows[-1].machine.time if self.rows else None

    @property
    def total(self) -> "Total":
        return Total.of([self])


@dataclass(frozen=True)
class Total:
    """What the training of one phase or of several took."""

    images: int
    seconds: float  # of training, without interruptions
    gpu_seconds: float
    gpus: int  # at most; 0: only CPUs, or nobody noted it
    devices: tuple[str, ...]  # such as "4 × NVIDIA A100", or "CPU"; none if nobody noted it
    price: str  # time × GPUs × price of a GPU hour, such as "12.06 USD"; empty if no price is known
    skipped: int  # updates

    @classmethod
    def of(cls, histories: Iterable[History]) -> "Total":
        trained = [history.rows for history in histories if history.rows]
        ends = [rows[-1] for rows in trained]
        return cls(
            images=sum(end.images for end in ends),
            seconds=sum(end.seconds for end in ends),
            gpu_seconds=sum(end.seconds * (end.machine.gpus or 0) for end in ends),
            gpus=max((end.machine.gpus or 0 for end in ends), default=0),
            devices=tuple(dict.fromkeys(_device(end.machine) for end in ends if end.machine.device)),
            price=_price(trained),
            skipped=sum(end.skipped for end in ends),
        )

    @property
    def kimg(self) -> float:
        return self.images / 1000


def _device(machine: Readings) -> str:
    return f"{machine.gpus} × {machine.device}" if (machine.gpus or 0) > 1 else str(machine.device)


def _price(phases: Iterable[tuple[Row, ...]]) -> str:
    """Each row at the price of the machine that wrote it."""
    amounts: dict[str, float] = defaultdict(float)
    for rows in phases:
        for before, row in pairwise(rows):
            if row.machine.gpu_hour_price and row.machine.gpus:
                price, currency = row.machine.gpu_hour_price.split()
                hours = (row.seconds - before.seconds) / 3600
                amounts[currency] += hours * row.machine.gpus * float(price)
    return " + ".join(f"{amount:,.2f} {currency}" for currency, amount in amounts.items())


COLUMNS: dict[str, tuple[Any, ...]] = {  # name → type, and NoneType if a cell may be empty
    field.name: typing.get_args(field.type) or (field.type,)
    for field in (*fields(Row), *fields(Readings))
    if field.name != "machine"
}


def _parsed(cells: Mapping[str, str | None]) -> dict[str, Any]:
    """The cells of a CSV file as values of their columns' types; None for an empty one."""
    values = {}
    for name, text in cells.items():
        kind, *none = COLUMNS[name]
        values[name] = None if none and not text else kind(text or "")
    return values
