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

    A measure that is missing, NaN or infinite fails; a threshold of None is not applied.
    """
    reasons = []
    for limit in (*UPPER_LIMITS, *LOWER_LIMITS):
        threshold: float | None = getattr(thresholds, limit)
        if threshold is not None:
            name = _judged_by(limit, candidate)
            if limit in LOWER_LIMITS and candidate.score_at_chance:
                text = f"{name}: not judged, the classifier is no better than chance"
                reasons.append(Reason(name, candidate.measures.get(name), None, True, text))
                continue
            reasons.append(_judge(name, candidate.measures.get(name), threshold, limit in UPPER_LIMITS))
    if thresholds.swd_vs_champion is not None and champion is not None:
        reasons.append(_against_champion(candidate, champion, thresholds.swd_vs_champion))
    passed = all(reason.passed for reason in reasons)
    return Verdict(candidate.phase, passed, tuple(reasons), candidate, champion)


def _judged_by(limit: Limit, candidate: Evaluation) -> str:
    """The first measure with this limit that `candidate` has; the first of all if it has none."""
    names = [measure.name for measure in MEASURES if measure.limit == limit]
    return next((name for name in names if name in candidate.measures), names[0])


def _judge(measure: str, value: float | None, limit: float, upper: bool, derivation: str = "") -> Reason:
    """Compare `value` with an upper or lower limit. derivation: where the limit comes from, for the text."""
    bound = f"{'at most' if upper else 'at least'} {limit:.4g}{derivation}"
    if not _finite(value):
        state = "is missing or not finite" if value is None else f"is {value}"
        return Reason(measure, None, limit, False, f"{measure} {state}; must be {bound}")
    passed = value <= limit if upper else value >= limit
    text = f"{measure} is {value:.4g}; {'' if passed else 'must be '}{bound}"
    return Reason(measure, value, limit, passed, text)


def _against_champion(candidate: Evaluation, champion: Champion, ratio: float) -> Reason:
    """Compare the SWD with the champion's, if both generators have the same dataset and resolution."""
    measure = "swd_vs_champion"
    for key in ("dataset", "resolution"):
        if getattr(candidate, key) != getattr(champion, key):
            text = f"{measure}: not compared, the champion has another {key}"
            return Reason(measure, None, None, True, text)
    best = champion.measures.get(SWD.name)
    if not _finite(best):
        text = f"{measure}: the champion has no SWD; promote another version"
        return Reason(measure, None, None, False, text)
    value = candidate.measures.get(SWD.name)
    return _judge(SWD.name, value, ratio * best, True, f", {ratio:g} × the champion's {best:.4g}")


def _finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def gate(config: Config, evaluation: Path, out: Path) -> bool:
    """Judge `evaluation`, write the verdict to `out` (JSON), and return whether it passed."""
    verdict = decide(Evaluation.read(evaluation), find_champion(config.register.model), config.gate)
    verdict.write(out)
    print(f"{out}: {verdict.phase} {'passed' if verdict.passed else 'FAILED, nothing will be registered'}")
    for reason in verdict.reasons:
        print(f"  {reason}")
    return verdict.passed


def refuse_to_go_on(config: Config, key: str) -> None:
    """Raise InputError if `gate.stop_after` is a phase before `key` and not evaluated, or fails the gate."""
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
