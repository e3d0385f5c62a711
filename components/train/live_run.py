"""The MLflow runs of a phase while it trains: its own and its parent, which `register` completes later."""

import io
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image

from components import stages
from components.commit import git_commit
from components.identity import parameter
from components.tracking.client import clear_errors, client, experiment_of
from components.tracking.metrics import curves, milliseconds
from components.tracking.runs import (
    PARENT,
    STATE,
    TASK,
    find_or_create_child,
    find_runs,
    log_metrics,
    log_params,
    log_picture,
    origin,
    phase_runs,
    set_tags,
    terminate,
    unregistered_parents,
)
from components.train.live_state import LiveState
from progan.config import Config
from progan.history import History, Row

FIRST_SECONDS = 30.0  # before the runs are created: shorter phases leave that to `register`
LAST_SECONDS = 10.0  # at the end of a phase, for what is not sent yet
MOST_PENDING = 20  # renewals whose pictures are kept while MLflow does not answer
STATUSES = {"training": "RUNNING", "stopped": "KILLED", "failed": "FAILED"}
UNFINISHED = "This run is not finished: parameters of later phases, measures and the verdict are to follow."


@dataclass(frozen=True)
class Renewal:
    """What the live record has at one moment."""

    live: LiveState
    rows: tuple[Row, ...]
    picture: bytes  # PNG


class LiveRun:
    """Sends each renewal of the live record to MLflow, in a thread of its own.

    Whatever MLflow does not take is sent again with the next renewal, and what remains, `register` sends.

    init: the identity of the phase before; None for the first. notice: told in a line if MLflow fails.
    """

    def __init__(
        self, config: Config, key: str, identity: str, init: str | None, notice: Callable[[str], None]
    ) -> None:
        self.config, self.key, self.identity, self.init, self.notice = config, key, identity, init, notice
        self._renewals: queue.SimpleQueue[Renewal | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._runs: tuple[Any, Any] | None = None  # parent and child
        self._sent: set[int] = set()  # images at the rows that MLflow has
        self._failure = ""  # the last that was told

    def __enter__(self) -> "LiveRun":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the thread, or leave it behind if MLflow keeps it waiting."""
        self._renewals.put(None)
        self._ended.set()
        self._thread.join(LAST_SECONDS)

    def send(self, live: LiveState, rows: list[Row], picture: bytes) -> None:
        """Send what the live record has now, when there is time. picture: a PNG."""
        self._renewals.put(Renewal(live, tuple(rows), picture))

    def _work(self) -> None:
        began = time.monotonic()
        self._ended.wait(FIRST_SECONDS)
        if time.monotonic() - began < FIRST_SECONDS:
            return
        pending: list[Renewal] = []
        renewals: list[Renewal | None] = []
        while None not in renewals:
            renewals = self._take()
            pending = [*pending, *filter(None, renewals)][-MOST_PENDING:]
            if pending and self._logged(pending):
                pending = []

    def _take(self) -> list[Renewal | None]:
        """All that waits to be sent, at least one; None at the end."""
        renewals = [self._renewals.get()]
        while not self._renewals.empty():
            renewals.append(self._renewals.get())
        return renewals

    def _logged(self, renewals: list[Renewal]) -> bool:
        """Log them; False if MLflow failed, which is told once for each cause."""
        try:
            self._log(renewals)
        except Exception as error:
            if str(error) != self._failure:
                self._failure = str(error)
                self.notice(f"warning: MLflow lacks the newest of {self.key}, training goes on: {error}")
            return False
        return True

    def _log(self, renewals: list[Renewal]) -> None:
        with clear_errors(self.config.register.model):
            mlflow_client, newest = client(), renewals[-1]
            self._runs = self._runs or self._find_or_create(mlflow_client, newest.rows[0].machine.time)
            parent, child = self._runs
            if child.info.status == "FINISHED":
                return  # the phase is trained once more
            rows = [row for row in newest.rows if row.images not in self._sent]
            for run in (parent, child):
                log_metrics(mlflow_client, run.info.run_id, curves(rows, child.info.start_time))
            self._sent |= {row.images for row in rows}
            for renewal in renewals:
                with Image.open(io.BytesIO(renewal.picture)) as picture:
                    log_picture(mlflow_client, child.info.run_id, picture, renewal.live.images)
            _log_state(mlflow_client, parent, child, newest)

    def _find_or_create(self, mlflow_client: Any, began: float | None) -> tuple[Any, Any]:
        """The runs of the whole run and of this phase, with the parameters that decide the phase."""
        experiment = experiment_of(mlflow_client, self.config.register.model)
        for child in find_runs(mlflow_client, experiment, {TASK: self.identity}):
            parent = mlflow_client.get_run(child.data.tags[PARENT])
            if parent.info.lifecycle_stage == "active":
                return parent, child
        parent = self._parent(mlflow_client, experiment, began)
        child = find_or_create_child(mlflow_client, parent, self.key, self.identity, began)
        parameters = asdict(self.config)
        names = stages.task(self.config, "train", self.key).params
        log_params(mlflow_client, parent, {name: parameter(parameters, name) for name in names})
        log_params(mlflow_client, child, parameters["phases"][self.key])
        return parent, child

    def _parent(self, mlflow_client: Any, experiment: str, began: float | None) -> Any:
        """That of the phase before, unless it has another run of this phase; else a new one."""
        parents = unregistered_parents(mlflow_client, experiment, self.init) if self.init else []
        for parent in parents:
            if not phase_runs(mlflow_client, parent.info.run_id, self.key):
                return parent
        tags = {"mlflow.source.git.commit": git_commit(), **origin()}
        name = f"{self.key}-{self.identity[:8]}"
        return mlflow_client.create_run(experiment, milliseconds(began), tags, name)


def _log_state(mlflow_client: Any, parent: Any, child: Any, renewal: Renewal) -> None:
    """Tags, description and status of both runs."""
    live = renewal.live
    tags = {STATE: live.line, "problems": "; ".join(problem.what for problem in live.problems) or "none"}
    remedies = "".join(f"\n\n**{problem.what}**: {problem.remedy}" for problem in live.problems)
    set_tags(mlflow_client, child.info.run_id, tags)
    set_tags(mlflow_client, parent.info.run_id, tags, f"{live.line}. {UNFINISHED}{remedies}")
    if live.state == "finished":
        terminate(mlflow_client, child, History(renewal.rows).total)
        mlflow_client.update_run(parent.info.run_id, "RUNNING")
    else:
        for run in (parent, child):
            mlflow_client.update_run(run.info.run_id, STATUSES[live.state])
