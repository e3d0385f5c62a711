"""`evaluation/<phase>.json`: the measures of a finished phase."""

from dataclasses import dataclass

from components.contracts import Contract
from progan.validation import Faults

SIGNED = ("ms_ssim", "ms_ssim_reals")  # similarities: of opposite images they are negative


@dataclass(frozen=True)
class Evaluation(Contract):
    """The measures of one checkpoint, and what they were computed from."""

    written_by = "evaluate@{}"

    phase: str  # its key
    resolution: int
    kimg: float  # since the first phase began
    identity: str  # of the training task
    checkpoint: str  # digest of its networks
    dataset: str  # digest of the level it was trained on
    swd_images: int  # on each side of the comparison
    measures: dict[str, float | None]  # by name; None: not finite
    score_at_chance: bool = False  # of a classifier that is no better than chance

    @staticmethod
    def check_measures(measures: dict[str, float | None]) -> Faults:
        for name, value in measures.items():
            if value is not None and value < 0 and name not in SIGNED:
                yield f"measures.{name}", f"must be 0 or more, not {value}"

    @property
    def numbers(self) -> dict[str, float]:
        """kimg and every finite measure."""
        finite = {name: value for name, value in self.measures.items() if value is not None}
        return {"kimg": self.kimg, **finite}
