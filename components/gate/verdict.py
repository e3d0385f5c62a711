"""`verdict.json`: the gate's answer, and the evaluations it is based on."""

from dataclasses import dataclass
from pathlib import Path

from components import contracts
from components.evaluate.evaluation import Evaluation
from components.register.mlflow_registry import Champion


@dataclass(frozen=True)
class Reason:
    """One threshold, and how the candidate compares with it."""

    measure: str
    value: float | None
    limit: float | None
    passed: bool
    text: str

    def __str__(self) -> str:
        return f"{'✓' if self.passed else '✗'} {self.text}"


@dataclass(frozen=True)
class Verdict:
    """The gate's answer: it is passed only if every reason is."""

    phase: str
    passed: bool
    reasons: tuple[Reason, ...]
    candidate: Evaluation
    champion: Champion | None  # at the time of the verdict

    @classmethod
    def read(cls, path: Path) -> "Verdict":
        return contracts.read(cls, path, "gate")

    def write(self, path: Path) -> None:
        contracts.write(self, path)
