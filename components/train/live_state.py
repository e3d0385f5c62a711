"""The files of a phase's live record, as others read them."""

from dataclasses import dataclass
from typing import Any

from components.object_store import open_store
from progan.errors import InputError
from progan.files import parse_json
from progan.health import Problem
from progan.history import History
from progan.validation import from_json

FOLDER = "live"  # in the folder of the phase's snapshots
STATE, HISTORY, PAGE = "state.json", "history.csv", "index.html"
GRID, BEFORE = "grid.png", "before.png"
REMEDY = "training writes it anew"


@dataclass(frozen=True)
class LiveState:
    """state.json: where a phase stands."""

    phase: str
    state: str  # training, stopped, failed or finished
    images: int
    total_images: int
    seconds_left: float | None
    updated: float  # seconds since 1970
    share: float  # of the training time that this record has taken
    newest: dict[str, Any]  # the newest row of the history
    problems: tuple[Problem, ...] = ()

    @classmethod
    def parse(cls, content: bytes, where: str) -> "LiveState":
        """The state in state.json. Raises InputError if it is damaged."""
        try:
            return from_json(cls, parse_json(content))
        except ValueError as error:
            raise InputError(f"{where}: damaged ({error}); {REMEDY}") from None

    @property
    def line(self) -> str:
        """In one line, as training says it."""
        return f"{self.phase} {self.state}, {self.images / 1000:g} of {self.total_images / 1000:g} kimg"


@dataclass(frozen=True)
class PhaseRecord:
    """The live record of a phase, in the folder `name` of the snapshots at `uri`."""

    uri: str
    name: str
    live: LiveState

    @property
    def page(self) -> str:
        """The address of the page."""
        return self._address(PAGE)

    @property
    def grid(self) -> bytes | None:
        """The newest picture, a PNG; None if there is none."""
        return self._read(GRID)

    @property
    def history(self) -> History:
        """The history until now; an empty one if there is none."""
        content = self._read(HISTORY)
        return History.parse(content, self._address(HISTORY), REMEDY) if content else History()

    def _address(self, file: str) -> str:
        return f"{self.uri.rstrip('/')}/{self.name}/{FOLDER}/{file}"

    def _read(self, file: str) -> bytes | None:
        return open_store(self.uri).read(f"{self.name}/{FOLDER}/{file}")


def read_record(snapshots: str, name: str) -> PhaseRecord | None:
    """The record in the folder `name` of the snapshots at `snapshots`; None if there is none."""
    file = f"{name}/{FOLDER}/{STATE}"
    content = open_store(snapshots).read(file)
    if content is None:
        return None
    return PhaseRecord(snapshots, name, LiveState.parse(content, f"{snapshots}/{file}"))


def record_names(snapshots: str) -> list[str]:
    """The folders of all phases that have a record."""
    suffix = f"/{FOLDER}/{STATE}"
    names = open_store(snapshots).names("")
    return [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
