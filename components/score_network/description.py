"""`score_network/score_network.json`: which network scores the generators of a dataset."""

from dataclasses import dataclass
from typing import Literal

from components.contracts import Contract

FILE_NAME = "score_network.json"


@dataclass(frozen=True)
class ScoreNetwork(Contract):
    """The kind of network, and what is to be known of one of this kind."""

    written_by = "score-network"

    kind: Literal["inception", "classifier", "digits", "none"]
    sha256: str | None = None  # inception: of the file of its weights
    accuracy: float | None = None  # classifier, digits: on images held out
    classes: tuple[str, ...] = ()  # classifier: by label
    why: str | None = None  # none
    better_than_chance: bool = True  # classifier: than always naming the largest class
