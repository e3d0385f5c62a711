"""The gate: every way to pass and every way to fail."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from components.gate.stage import decide, refuse_to_go_on
from components.register.registry import Champion
from progan.checkpoints import read_checkpoint, write_checkpoint
from progan.config import GateConfig
from progan.errors import InputError
from tests.checkpoints import facts_of
from tests.evaluations import EVALUATION, evaluation

THRESHOLDS = GateConfig(swd_max=50.0, ms_ssim_max=0.5, score_min=2.0, swd_vs_champion=1.1, stop_after=None)
GOOD = {"swd_average": 40.0, "ms_ssim": 0.3, "classifier_score": 3.0}
CHAMPION = Champion("1", "data", 4, {"swd_average": 40.0})


def judged(measures, champion=None, thresholds=THRESHOLDS):
    return decide(replace(EVALUATION, measures=measures), champion, thresholds)


def failed(verdict):
    return [reason.measure for reason in verdict.reasons if not reason.passed]


def test_a_good_candidate_passes_with_every_reason_given():
    verdict = judged(GOOD)
    assert verdict.passed
    assert [reason.measure for reason in verdict.reasons] == ["swd_average", "ms_ssim", "classifier_score"]


def test_limits_are_inclusive():
    edge = GOOD | {"swd_average": 50.0, "ms_ssim": 0.5, "classifier_score": 2.0}
    assert judged(edge).passed


@pytest.mark.parametrize(
    ("change", "measure"),
    [
        ({"swd_average": 50.1}, "swd_average"),
        ({"ms_ssim": 0.51}, "ms_ssim"),
        ({"classifier_score": 1.9}, "classifier_score"),
    ],
)
def test_one_measure_beyond_its_limit_fails(change, measure):
    verdict = judged(GOOD | change)
    assert not verdict.passed
    assert failed(verdict) == [measure]


@pytest.mark.parametrize("measure", ["swd_average", "ms_ssim", "classifier_score"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_no_number_fails(measure, value):
    verdict = judged(GOOD | {measure: value})
    assert failed(verdict) == [measure]


@pytest.mark.parametrize("measure", ["swd_average", "ms_ssim"])
def test_a_missing_measure_fails(measure):
    assert failed(judged({k: v for k, v in GOOD.items() if k != measure})) == [measure]


def test_a_missing_score_fails_unless_it_is_not_asked():
    without = {k: v for k, v in GOOD.items() if k != "classifier_score"}
    assert failed(judged(without)) == ["inception_score"]
    assert judged(without, None, replace(THRESHOLDS, score_min=None)).passed


def test_the_inception_score_is_preferred():
    both = GOOD | {"inception_score": 1.0}
    assert failed(judged(both)) == ["inception_score"]


def test_against_the_champion():
    assert judged(GOOD | {"swd_average": 43.9}, CHAMPION).passed
    assert failed(judged(GOOD | {"swd_average": 44.1}, CHAMPION)) == ["swd_average"]
    for unknown in ({}, {"swd_average": None}):
        assert failed(judged(GOOD, replace(CHAMPION, measures=unknown))) == ["swd_vs_champion"]


@pytest.mark.parametrize("change", [{"dataset": "other"}, {"resolution": 64}])
def test_a_champion_of_something_else_is_no_measure(change):
    better = replace(CHAMPION, measures={"swd_average": 1.0})
    assert not judged(GOOD, better).passed
    verdict = judged(GOOD, replace(better, **change))
    assert verdict.passed
    assert f"another {next(iter(change))}" in verdict.reasons[-1].text


@pytest.fixture
def stopped(tmp_path, monkeypatch, small_config):
    """A project's folder whose r0004 was trained and evaluated, and is what the run may stop after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr("components.gate.stage.find_champion", lambda model: None)
    write_checkpoint(Path("checkpoints/r0004"), facts_of(), {"w": torch.ones(1)}, {})
    digest = read_checkpoint(Path("checkpoints/r0004")).digest
    replace(evaluation(), checkpoint=digest).write(Path("evaluation/r0004.json"))
    gate = GateConfig(
        swd_max=60.0, ms_ssim_max=None, score_min=None, swd_vs_champion=None, stop_after="r0004"
    )
    return replace(small_config, gate=gate)


def go_on(config, key="r0008"):
    refuse_to_go_on(config, key)


def limited(config, limit):
    return replace(config, gate=replace(config.gate, swd_max=limit))


def test_a_phase_that_passed_lets_the_next_begin(stopped):
    go_on(stopped)
    go_on(limited(stopped, 1.0), "r0004")  # what comes before is not asked
    go_on(replace(stopped, gate=replace(stopped.gate, swd_max=1.0, stop_after=None)))


@pytest.mark.parametrize("key", ["r0008", "r0016"])
def test_a_phase_that_failed_does_not(stopped, key):
    told = f"gate.stop_after: {key} is not trained, r0004 failed: swd_average is 50; not at most 1"
    with pytest.raises(InputError, match=told):
        go_on(limited(stopped, 1.0), key)


def test_a_verdict_is_of_the_checkpoint_that_is_there(stopped):
    write_checkpoint(Path("checkpoints/r0004"), facts_of(), {"w": torch.zeros(1)}, {})
    with pytest.raises(InputError, match="not evaluated; run dvc repro evaluate@r0004, then this again"):
        go_on(stopped)
    Path("evaluation/r0004.json").unlink()
    with pytest.raises(InputError, match="r0008 waits for the verdict on r0004"):
        go_on(stopped)
