"""Progress of long work: a bar on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

LINE_SECONDS = 15.0  # between lines in a log

BESIDE_THE_BAR = 68  # columns of a terminal, for the label and the longest text without details
WITH_DETAILS = 130  # columns of a terminal that has room for details
LONGEST_BAR = 40

Advance = Callable[[int, int], None]  # units done, units in all


@dataclass(frozen=True)
class Forecast:
    """What the plan expects of work before its rate is measured."""

    seconds: float  # for all of it
    later_seconds: float  # for the work that follows in the same run


@contextmanager
def show_progress(
    label: str, unit: str, forecast: Forecast | None = None, details: Callable[[], str] = str
) -> Iterator[Advance]:
    """Yield a function that shows progress; its first call sets the starting point for the rate.

    forecast: for an estimate of the whole run's remaining time, which the measured rate then corrects.
    details: what else the line says, if the terminal is wide enough; a log always has it.
    """
    console = Console(stderr=True)
    with_details = not console.is_terminal or console.width >= WITH_DETAILS
    meter = _Meter(unit, forecast, details if with_details else str)
    with _bar(console, label, meter) if console.is_terminal else _lines(label, meter) as advance:
        yield advance


def duration(seconds: float) -> str:
    """3723 → "1h 02m", 83 → "1m 23s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours else f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


class _Meter:
    """The rate since the work was started or resumed, and the time left."""

    def __init__(self, unit: str, forecast: Forecast | None, details: Callable[[], str]) -> None:
        self.unit, self.forecast, self.details = unit, forecast, details
        self.text = ""
        self._start: tuple[float, int] | None = None

    def update(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._start is None:
            self._start = (now, done)
        began, start = self._start
        if done > start:
            rate = (done - start) / max(now - began, 1e-9)
            left = self._left(done, total, rate) if done < total else ""
            parts = self.details(), f"{rate:,.0f} {self.unit}/s", left
            self.text = " · ".join(filter(None, parts))
        elif self.forecast:
            self.text = self._left(done, total, total / self.forecast.seconds)

    def _left(self, done: int, total: int, rate: float) -> str:
        """The time left at this rate; what follows is as much slower than planned as this work."""
        seconds = (total - done) / rate
        if not self.forecast:
            return f"{duration(seconds)} left"
        slower = total / rate / self.forecast.seconds
        whole_run = seconds + slower * self.forecast.later_seconds
        return f"{duration(seconds)} left, whole run ≈ {duration(whole_run)}"


class _MeterColumn(ProgressColumn):
    def __init__(self, meter: _Meter) -> None:
        super().__init__(Column(no_wrap=True))
        self.meter = meter

    def render(self, task: Task) -> Text:
        return Text(self.meter.text, style="cyan")


@contextmanager
def _bar(console: Console, label: str, meter: _Meter) -> Iterator[Advance]:
    columns = (
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        BarColumn(min(max(console.width - BESIDE_THE_BAR, 1), LONGEST_BAR)),
        TextColumn("{task.percentage:>3.0f}%"),
        _MeterColumn(meter),
    )
    with Progress(*columns, console=console, transient=True) as progress:
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
            parts = f"{label} {done:,} of {total:,}", meter.text
            print(" · ".join(filter(None, parts)), file=sys.stderr, flush=True)

    yield advance
