"""Decide whether a generator is good enough to be registered."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeGuard

from components.evaluate.measures import flat_measures
from progan.config import Config, GateConfig
from progan.errors import InputError
from progan.files import read_json, write_json

SCORES = ("inception_score", "classifier_score", "modes")
COMPARABLE = ("dataset", "resolution")  # what champion and candidate must share for their measures to compare


@dataclass(frozen=True)
class Reason:
    """One threshold and how the candidate stands to it."""

    measure: str
    value: float | None
    limit: float | None
    passed: bool
    text: str


@dataclass(frozen=True)
class Verdict:
    """The gate's answer: passed only when every reason did."""

    passed: bool
    reasons: tuple[Reason, ...]


def decide(
    candidate: Mapping[str, Any], champion: Mapping[str, Any] | None, thresholds: GateConfig
) -> Verdict:
    """Judge `candidate` by `thresholds` and against `champion`; a pure function.

    Both mappings hold swd_average, ms_ssim, one of SCORES, dataset (digest) and resolution. A measure that
    is missing, NaN or infinite fails; a threshold of None is not asked.
    """
    swd, ms_ssim = candidate.get("swd_average"), candidate.get("ms_ssim")
    score_name = next((name for name in SCORES if name in candidate), SCORES[0])
    reasons = []
    if thresholds.swd_max is not None:
        reasons.append(_at_most("swd_average", swd, thresholds.swd_max))
    if thresholds.ms_ssim_max is not None:
        reasons.append(_at_most("ms_ssim", ms_ssim, thresholds.ms_ssim_max))
    if thresholds.score_min is not None:
        reasons.append(_at_least(score_name, candidate.get(score_name), thresholds.score_min))
    if thresholds.swd_vs_champion is not None and champion is not None:
        reasons.append(_against_champion(candidate, champion, thresholds.swd_vs_champion))
    return Verdict(all(reason.passed for reason in reasons), tuple(reasons))


def _at_most(measure: str, value: float | None, limit: float, what: str = "the limit") -> Reason:
    return _judge(measure, value, limit, _finite(value) and value <= limit, f"at most {limit:.4g}, {what}")


def _at_least(measure: str, value: float | None, limit: float) -> Reason:
    return _judge(
        measure, value, limit, _finite(value) and value >= limit, f"at least {limit:.4g}, the limit"
    )


def _judge(measure: str, value: float | None, limit: float, passed: bool, wanted: str) -> Reason:
    if not _finite(value):
        was = "is missing or no finite number" if value is None else f"is {value}"
        return Reason(measure, None, limit, False, f"{measure} {was}; {wanted} is asked")
    return Reason(
        measure, value, limit, passed, f"{measure} is {value:.4g}; {'' if passed else 'not '}{wanted}"
    )


def _against_champion(candidate: Mapping[str, Any], champion: Mapping[str, Any], ratio: float) -> Reason:
    measure = "swd_vs_champion"
    for key in COMPARABLE:
        if candidate.get(key) != champion.get(key):
            return Reason(measure, None, None, True, f"{measure}: not asked, the champion has another {key}")
    best = champion.get("swd_average")
    if not _finite(best):
        return Reason(
            measure, None, None, False, f"{measure}: the champion's SWD is not known; promote another"
        )
    return _at_most(
        "swd_average", candidate.get("swd_average"), ratio * best, f"{ratio:g} × the champion's {best:.4g}"
    )


def _finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def gate(config: Config, evaluation: Path, out: Path) -> bool:
    """Judge a phase's `evaluation` and write the verdict to `out` (JSON). A failed gate is no error."""
    from components.register.registry import champion_measures

    candidate = flat_measures(read_json(evaluation, "phase"))
    champion = champion_measures(config.register.model)
    verdict = decide(candidate, champion, config.gate)
    phase = candidate["phase"]
    write_json(out, {**asdict(verdict), "phase": phase, "candidate": candidate, "champion": champion})
    print(f"{out}: {phase} {'passed' if verdict.passed else 'FAILED, nothing will be registered'}")
    for reason in verdict.reasons:
        print(f"  {'✓' if reason.passed else '✗'} {reason.text}")
    return verdict.passed


def refuse_to_go_on(config: Config, key: str, checkpoints: Path, evaluations: Path) -> None:
    """Raise InputError when `gate.stop_after` is a phase before `key` and has no verdict, or one of no."""
    from components.register.registry import champion_measures
    from progan.snapshots import read_checkpoint

    stop = config.gate.stop_after
    if stop is None or config.phase(key).resolution <= config.phase(stop).resolution:
        return
    checkpoint, evaluation = checkpoints / stop, evaluations / f"{stop}.json"
    if (
        not evaluation.exists()
        or read_json(evaluation, "checkpoint")["checkpoint"] != read_checkpoint(checkpoint).digest
    ):
        raise InputError(
            f"gate.stop_after: {key} waits for the verdict on {stop}, which is not evaluated; "
            f"run dvc repro evaluate@{stop}, then this again"
        )
    champion = champion_measures(config.register.model)
    for reason in decide(flat_measures(read_json(evaluation)), champion, config.gate).reasons:
        if not reason.passed:
            raise InputError(
                f"gate.stop_after: {key} is not trained, {stop} failed: {reason.text}; {checkpoint} is kept"
            )
