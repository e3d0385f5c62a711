"""`score_network/score_network.json`: which network scores the generators of a dataset."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components import contracts


@dataclass(frozen=True)
class ScoreNetwork:
    """The kind of network, and what is to be known of one of this kind."""

    kind: Literal["inception", "classifier", "digits", "none"]
    sha256: str | None = None  # inception: of the file of its weights
    accuracy: float | None = None  # classifier, digits: on images held out
    classes: tuple[str, ...] = ()  # classifier: by label
    why: str | None = None  # none

    @classmethod
    def read(cls, folder: Path) -> "ScoreNetwork":
        return contracts.read(cls, folder / "score_network.json", "score-network")

    def write(self, folder: Path) -> None:
        contracts.write(self, folder / "score_network.json")
