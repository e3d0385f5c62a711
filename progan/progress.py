"""Progress of long work: a bar on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

LINE_SECONDS = 15.0  # between lines in a log

Advance = Callable[[int, int], None]  # units done, units in all


@contextmanager
def show_progress(label: str, unit: str, later_work: float = 0) -> Iterator[Advance]:
    """Yield a function that shows progress; its first call sets the starting point for the rate.

    later_work: the units of work that follow in the same run, for an estimate of its remaining time.
    """
    console = Console(stderr=True)
    meter = _Meter(unit, later_work)
    with _bar(console, label, meter) if console.is_terminal else _lines(label, meter) as advance:
        yield advance


def duration(seconds: float) -> str:
    """3723 → "1h 02m", 83 → "1m 23s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours else f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


class _Meter:
    """The rate since the work was started or resumed, and the time left."""

    def __init__(self, unit: str, later_work: float) -> None:
        self.unit, self.later_work = unit, later_work
        self.text = ""
        self._start: tuple[float, int] | None = None

    def update(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._start is None:
            self._start = (now, done)
        began, start = self._start
        if done == start:
            return
        rate = (done - start) / max(now - began, 1e-9)
        left = (total - done) / rate
        self.text = f"{rate:,.0f} {self.unit}/s · {duration(left)} left"
        if self.later_work:
            self.text += f" · whole run ≈ {duration(left + self.later_work / rate)} left"


class _MeterColumn(ProgressColumn):
    def __init__(self, meter: _Meter) -> None:
        super().__init__()
        self.meter = meter

    def render(self, task: Task) -> Text:
        return Text(self.meter.text, style="cyan")


@contextmanager
def _bar(console: Console, label: str, meter: _Meter) -> Iterator[Advance]:
    columns = (
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        _MeterColumn(meter),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(label, total=None)

        def advance(done: int, total: int) -> None:
            meter.update(done, total)
            progress.update(task, completed=done, total=total)

        yield advance


@contextmanager
def _lines(label: str, meter: _Meter) -> Iterator[Advance]:
    last_line = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last_line
        meter.update(done, total)
        now = time.monotonic()
        if now - last_line >= LINE_SECONDS or done == total:
            last_line = now
            print(f"{label} {done:,} of {total:,} {meter.unit} · {meter.text}", file=sys.stderr, flush=True)

    yield advance
