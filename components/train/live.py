"""The live record of a phase: its newest pictures, its history and a page, renewed while it trains.

It lies beside the phase's snapshots, in `<phase>-<identity>/live/`, and is no output of a stage. The training
thread only makes the images; the rest happens in a thread of its own. No failure of either stops training.
"""

import io
import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from components.page import template
from components.train.fixed_latents import FixedLatents
from components.train.live_state import BEFORE, FOLDER, GRID, HISTORY, PAGE, STATE, LiveState
from progan.errors import Interrupted
from progan.health import Likeness, problems
from progan.history import History, Readings, Row
from progan.metrics.ms_ssim import mean_ms_ssim
from progan.store import Store
from progan.training import PhaseTrainer

PICTURES = 20  # of a phase, at least
SECONDS = 900.0  # between pictures, at most
FIRST_SECONDS = 10.0  # before the second picture
SHARE = 0.02  # of the time that the record may take
COMPARED = 16  # images whose likeness is measured


class LiveRecord:
    """Renews the record of one phase when it is due; training calls it after each iteration.

    reals: the training set, uint8 [N, C, R, R]. machine: reads it. notice: told in a line what is wrong.
    send: gets each state, the history and the picture (PNG) too.
    """

    def __init__(
        self,
        store: Store,
        folder: str,
        latents: FixedLatents,
        reals: np.ndarray,
        machine: Callable[[], Readings],
        notice: Callable[[str], None],
        send: Callable[[LiveState, list[Row], bytes], None],
    ) -> None:
        self.store, self.folder, self.latents = store, f"{folder}/{FOLDER}", latents
        self.machine, self.notice, self.send = machine, notice, send
        self.reals = torch.from_numpy(reals[:COMPARED])
        self.began = self.renewed = time.monotonic()
        self.renewed_images: int | None = None
        self.spent = 0.0  # seconds of the training thread, and of the CPU by the other
        self._noticed: set[str] = set()
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[float] | None = None
        self._trainer: PhaseTrainer | None = None

    def __enter__(self) -> "LiveRecord":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error and self._trainer:
            self._renew(self._trainer, "stopped" if isinstance(error, Interrupted) else "failed")
        self._written()
        self._thread.shutdown()

    def __call__(self, trainer: PhaseTrainer) -> None:
        """Renew the record if it is due."""
        self._trainer = trainer
        if self._due(trainer):
            self._renew(trainer, "finished" if trainer.finished else "training")

    def _due(self, trainer: PhaseTrainer) -> bool:
        if self.renewed_images is None or trainer.finished:
            return True
        if self._writing and not self._writing.done():
            return False
        now = time.monotonic()
        elapsed = now - self.began
        since = now - self.renewed
        late = since >= min(SECONDS, max(FIRST_SECONDS, elapsed / 2))
        next_picture = trainer.images_shown - self.renewed_images >= trainer.schedule.total_images / PICTURES
        return (late or next_picture) and self.spent <= SHARE * elapsed

    def _renew(self, trainer: PhaseTrainer, state: str) -> None:
        self._written()
        began = time.monotonic()
        self.renewed, self.renewed_images = began, trainer.images_shown
        try:
            images = self.latents.images(trainer.averaged(), trainer.alpha())
            rows = list(trainer.history)
            if trainer.images_shown > rows[-1].images:
                rows.append(trainer.row(self.machine()))
            self._writing = self._thread.submit(self._write, self._state(trainer, rows, state), images, rows)
        except Exception as error:
            self._failed(error)
        self.spent += time.monotonic() - began

    def _written(self) -> None:
        """Wait until the record is written."""
        writing, self._writing = self._writing, None
        try:
            self.spent += writing.result() if writing else 0.0
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.notice(f"warning: the live record was not renewed, training goes on: {error}")

    def _state(self, trainer: PhaseTrainer, rows: list[Row], state: str) -> LiveState:
        newest, total = rows[-1], trainer.schedule.total_images
        rate, elapsed = newest.images_per_second, time.monotonic() - self.began
        return LiveState(
            phase=trainer.phase.key,
            state=state,
            images=newest.images,
            total_images=total,
            seconds_left=(total - newest.images) / rate if rate else None,
            updated=time.time(),
            share=self.spent / elapsed if elapsed else 0.0,
            newest=newest.columns,
        )

    def _write(self, live: LiveState, images: Tensor, rows: list[Row]) -> float:
        """Returns the CPU seconds that it took."""
        began = time.thread_time()
        likeness = Likeness(*(mean_ms_ssim([each[:COMPARED]]) for each in (images, self.reals)))
        found = problems(rows, likeness)
        for problem in found:
            if problem.what not in self._noticed:
                self._noticed.add(problem.what)
                self.notice(f"{live.phase}: {problem.what}: {problem.remedy}")
        live = replace(live, problems=found)
        previous = self.store.read(f"{self.folder}/{GRID}")
        if previous:
            self.store.write(f"{self.folder}/{BEFORE}", previous)
        picture = io.BytesIO()
        self.latents.sheet(images).save(picture, "PNG", compress_level=1)
        self.store.write(f"{self.folder}/{GRID}", picture.getvalue())
        self.store.write(f"{self.folder}/{HISTORY}", History(tuple(rows)).csv.encode())
        self.store.write(f"{self.folder}/{PAGE}", _page(live, rows, previous is not None))
        self.store.write(f"{self.folder}/{STATE}", json.dumps(asdict(live)).encode())
        self.send(live, rows, picture.getvalue())
        return time.thread_time() - began


def _page(live: LiveState, rows: list[Row], with_previous: bool) -> bytes:
    """The page that renews itself."""
    columns = [row.columns for row in rows]
    html = template("train/live.html").render(live=asdict(live), rows=columns, with_previous=with_previous)
    return html.encode()
