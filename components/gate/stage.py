"""Decide whether a generator is good enough to be registered."""

import math
from pathlib import Path
from typing import TypeGuard

from components import stages
from components.evaluate.evaluation import Evaluation
from components.evaluate.measures import MEASURES, SWD, Limit
from components.gate.verdict import Reason, Verdict
from components.register.registry import Champion, find_champion
from progan.config import Config, GateConfig
from progan.errors import InputError

UPPER_LIMITS: tuple[Limit, ...] = ("swd_max", "ms_ssim_max")
LOWER_LIMITS: tuple[Limit, ...] = ("score_min",)


def decide(candidate: Evaluation, champion: Champion | None, thresholds: GateConfig) -> Verdict:
    """Judge `candidate` by `thresholds` and against `champion`; a pure function.

    A measure that is missing, NaN or infinite fails; a threshold of None is not asked.
    """
    reasons = []
    for limit in (*UPPER_LIMITS, *LOWER_LIMITS):
        threshold: float | None = getattr(thresholds, limit)
        if threshold is not None:
            name = _judged_by(limit, candidate)
            judge = _at_most if limit in UPPER_LIMITS else _at_least
            reasons.append(judge(name, candidate.measures.get(name), threshold, "the limit"))
    if thresholds.swd_vs_champion is not None and champion is not None:
        reasons.append(_against_champion(candidate, champion, thresholds.swd_vs_champion))
    passed = all(reason.passed for reason in reasons)
    return Verdict(candidate.phase, passed, tuple(reasons), candidate, champion)


def _judged_by(limit: Limit, candidate: Evaluation) -> str:
    """The name of the first measure with this limit that `candidate` has; if it has none, of the first."""
    names = [measure.name for measure in MEASURES if measure.limit == limit]
    return next((name for name in names if name in candidate.measures), names[0])


def _at_most(measure: str, value: float | None, limit: float, what: str) -> Reason:
    return _judge(measure, value, limit, _finite(value) and value <= limit, f"at most {limit:.4g}, {what}")


def _at_least(measure: str, value: float | None, limit: float, what: str) -> Reason:
    return _judge(measure, value, limit, _finite(value) and value >= limit, f"at least {limit:.4g}, {what}")


def _judge(measure: str, value: float | None, limit: float, passed: bool, wanted: str) -> Reason:
    if not _finite(value):
        was = "is missing or no finite number" if value is None else f"is {value}"
        return Reason(measure, None, limit, False, f"{measure} {was}; {wanted} is asked")
    return Reason(
        measure, value, limit, passed, f"{measure} is {value:.4g}; {'' if passed else 'not '}{wanted}"
    )


def _against_champion(candidate: Evaluation, champion: Champion, ratio: float) -> Reason:
    """Measures compare only between generators of one dataset and one resolution."""
    measure = "swd_vs_champion"
    for key in ("dataset", "resolution"):
        if getattr(candidate, key) != getattr(champion, key):
            return Reason(measure, None, None, True, f"{measure}: not asked, the champion has another {key}")
    best = champion.measures.get(SWD.name)
    if not _finite(best):
        return Reason(
            measure, None, None, False, f"{measure}: the champion's SWD is not known; promote another"
        )
    value = candidate.measures.get(SWD.name)
    return _at_most(SWD.name, value, ratio * best, f"{ratio:g} × the champion's {best:.4g}")


def _finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def gate(config: Config, evaluation: Path, out: Path) -> bool:
    """Judge a phase's `evaluation` and write the verdict to `out` (JSON). A failed gate is no error."""
    verdict = decide(Evaluation.read(evaluation), find_champion(config.register.model), config.gate)
    verdict.write(out)
    print(f"{out}: {verdict.phase} {'passed' if verdict.passed else 'FAILED, nothing will be registered'}")
    for reason in verdict.reasons:
        print(f"  {reason}")
    return verdict.passed


def refuse_to_go_on(config: Config, key: str) -> None:
    """Raise InputError when `gate.stop_after` is a phase before `key` and has no verdict, or one of no."""
    from progan.checkpoints import read_checkpoint

    stop = config.gate.stop_after
    if stop is None or config.phase(key).resolution <= config.phase(stop).resolution:
        return
    paths = stages.task(config, "evaluate", stop).paths()
    checkpoint, evaluation = paths["checkpoint"], paths["evaluation"]
    candidate = Evaluation.read(evaluation) if evaluation.exists() else None
    if candidate is None or candidate.checkpoint != read_checkpoint(checkpoint).digest:
        raise InputError(
            f"gate.stop_after: {key} waits for the verdict on {stop}, which is not evaluated; "
            f"run dvc repro evaluate@{stop}, then this again"
        )
    for reason in decide(candidate, find_champion(config.register.model), config.gate).reasons:
        if not reason.passed:
            raise InputError(
                f"gate.stop_after: {key} is not trained, {stop} failed: {reason.text}; {checkpoint} is kept"
            )
