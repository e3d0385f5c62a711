"""The table of measures that gate, report, registry and documentation share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

LOWER, HIGHER = "lower is better", "higher is better"
AS_REALS = "best as real images; above: alike"

Limit = Literal["swd_max", "ms_ssim_max", "score_min"]
Values = Mapping[str, float | None]  # by name; None: not finite


@dataclass(frozen=True)
class Measure:
    """One row of the table."""

    name: str
    title: str
    digits: int  # after the decimal point
    reading: str  # which values are good; empty for the levels of the SWD, as for their average
    limit: Limit | None = None  # the threshold of params.yaml's `gate` for it; None: not judged
    reals: str | None = None  # name of the same measure between real images
    reals_title: str = "real images"

    @property
    def spread(self) -> str:
        """The name of its standard deviation, which only some measures have."""
        return f"{self.name}_std"

    def text(self, value: float | None) -> str:
        """The formatted value; a dash if it is missing or not finite."""
        return number(value, self.digits)

    def badness(self, values: Values) -> float | None:
        """A number that is lower for better values; None without a value, or if neither way is better."""
        value, reals = values.get(self.name), values.get(self.reals or "")
        if value is None or self.reading in (LOWER, ""):
            return value
        if self.reading == HIGHER:
            return -value
        return abs(value - reals) if self.reading == AS_REALS and reals is not None else None


def number(value: float | None, digits: int) -> str:
    """A formatted number; a dash for None."""
    return "–" if value is None else f"{value:,.{digits}f}"


SWD = Measure("swd_average", "SWD × 1000", 1, LOWER, "swd_max", "swd_floor_average", "noise floor")

MEASURES = (
    SWD,
    Measure("ms_ssim", "MS-SSIM", 3, AS_REALS, "ms_ssim_max", "ms_ssim_reals"),
    Measure("fid", "FID", 1, LOWER),
    Measure("kid", "KID", 4, LOWER),
    Measure("inception_score", "Inception score", 2, HIGHER, "score_min"),
    Measure("classifier_score", "Classifier score", 2, HIGHER, "score_min"),
    Measure("precision", "Precision", 3, HIGHER),
    Measure("recall", "Recall", 3, HIGHER),
    Measure("modes", "Modes of 1000", 0, HIGHER, "score_min"),
    Measure("modes_kl", "KL of modes", 2, LOWER),
    Measure("nearest_ratio", "Nearest training image", 2, "about 1 or above; near 0: copies"),
)


def best_of(measure: Measure, evaluations: Sequence[Values]) -> set[int]:
    """The positions of the best values, which look equal; empty if nothing is to choose between."""
    badness = {
        index: bad for index, each in enumerate(evaluations) if (bad := measure.badness(each)) is not None
    }
    texts = {index: measure.text(evaluations[index][measure.name]) for index in badness}
    if len(set(texts.values())) < 2:
        return set()
    best = texts[min(badness, key=badness.__getitem__)]
    return {index for index, text in texts.items() if text == best}


def swd_level(side: int) -> Measure:
    """The SWD at one level of detail."""
    return replace(
        SWD, name=f"swd_{side}", title=f"SWD at {side} px", reading="", limit=None, reals=f"swd_floor_{side}"
    )


def swd_levels(values: Values) -> list[int]:
    """The levels of the SWD in `values`, coarse to fine."""
    return sorted(int(side) for name in values if (side := name.removeprefix("swd_")).isdecimal())


def measures_in(evaluations: Iterable[Values]) -> list[Measure]:
    """The measures that any of the evaluations has, the levels of the SWD after their average."""
    values = {name: value for evaluation in evaluations for name, value in evaluation.items()}
    rows = [measure for measure in MEASURES if measure.name in values]
    return [*rows[:1], *map(swd_level, swd_levels(values)), *rows[1:]] if SWD in rows else rows
