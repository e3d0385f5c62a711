"""`verdict.json`: the gate's answer, and the evaluations it is based on."""

from dataclasses import dataclass

from components.contracts import Contract
from components.evaluate.evaluation import Evaluation
from components.register.registry import Champion
from progan.validation import Faults


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
class Verdict(Contract):
    """The gate's answer: it is passed only if every reason is."""

    written_by = "gate"

    phase: str
    passed: bool
    reasons: tuple[Reason, ...]
    candidate: Evaluation
    champion: Champion | None  # at the time of the verdict

    @staticmethod
    def check_passed(passed: bool, reasons: tuple[Reason, ...]) -> Faults:
        if passed != all(reason.passed for reason in reasons):
            yield "passed", "must be true if every reason is passed, and only then"

    @staticmethod
    def check_phase(phase: str, candidate: Evaluation) -> Faults:
        if phase != candidate.phase:
            yield "phase", f"must be that of the candidate, {candidate.phase}"
