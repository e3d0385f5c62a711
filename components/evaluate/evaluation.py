"""`evaluation/<phase>.json`: what was measured of a finished phase."""

from dataclasses import dataclass
from pathlib import Path

from components import contracts


@dataclass(frozen=True)
class Evaluation:
    """The measures of one checkpoint, and what they were taken of."""

    phase: str  # its key
    resolution: int
    kimg: float  # since the first phase began
    identity: str  # of the finished phase
    checkpoint: str  # digest of its networks
    dataset: str  # digest of the level that it was trained on
    swd_images: int  # on each side of the SWD
    measures: dict[str, float | None]  # by name; None: no finite number

    @classmethod
    def read(cls, path: Path) -> "Evaluation":
        return contracts.read(cls, path, f"evaluate@{path.stem}")

    def write(self, path: Path) -> None:
        contracts.write(self, path)

    @property
    def numbers(self) -> dict[str, float]:
        """Every finite measure, and kimg beside them."""
        finite = {name: value for name, value in self.measures.items() if value is not None}
        return {"kimg": self.kimg, **finite}
