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


def judge(measures, champion=None, thresholds=THRESHOLDS):
    return decide(replace(EVALUATION, measures=measures), champion, thresholds)


def failed(verdict):
    return [reason.measure for reason in verdict.reasons if not reason.passed]


def test_a_good_candidate_passes_with_every_reason_given():
    """Limits are inclusive."""
    verdict = judge({"swd_average": 50.0, "ms_ssim": 0.5, "classifier_score": 2.0})
    assert verdict.passed
    assert [reason.measure for reason in verdict.reasons] == ["swd_average", "ms_ssim", "classifier_score"]


@pytest.mark.parametrize(
    "change",
    [{"swd_average": 50.1}, {"ms_ssim": 0.51}, {"classifier_score": 1.9}],
    ids=lambda change: next(iter(change)),
)
def test_one_measure_beyond_its_limit_fails(change):
    verdict = judge(GOOD | change)
    assert not verdict.passed
    assert failed(verdict) == list(change)


@pytest.mark.parametrize("measure", GOOD)
@pytest.mark.parametrize("value", [math.nan, -math.inf, None])
def test_a_measure_that_is_not_finite_fails(measure, value):
    assert failed(judge(GOOD | {measure: value})) == [measure]


def test_the_score_of_a_classifier_at_chance_is_not_judged():
    candidate = replace(EVALUATION, measures=GOOD | {"classifier_score": 1.0}, score_at_chance=True)
    verdict = decide(candidate, None, THRESHOLDS)
    assert verdict.passed
    assert verdict.reasons[2].text == "classifier_score: not judged, the classifier is no better than chance"
    assert failed(decide(replace(candidate, score_at_chance=False), None, THRESHOLDS)) == ["classifier_score"]


def test_a_missing_measure_fails_unless_it_has_no_threshold():
    for measure in ("swd_average", "ms_ssim"):
        assert failed(judge({name: GOOD[name] for name in GOOD.keys() - {measure}})) == [measure]
    without = {name: GOOD[name] for name in GOOD.keys() - {"classifier_score"}}
    assert failed(judge(without)) == ["inception_score"]
    assert judge(without, None, replace(THRESHOLDS, score_min=None)).passed


def test_the_inception_score_is_preferred():
    both = GOOD | {"inception_score": 1.0}
    assert failed(judge(both)) == ["inception_score"]


def test_against_the_champion():
    assert judge(GOOD | {"swd_average": 43.9}, CHAMPION).passed
    assert failed(judge(GOOD | {"swd_average": 44.1}, CHAMPION)) == ["swd_average"]
    for unknown in ({}, {"swd_average": None}):
        assert failed(judge(GOOD, replace(CHAMPION, measures=unknown))) == ["swd_vs_champion"]


@pytest.mark.parametrize("change", [{"dataset": "other"}, {"resolution": 64}])
def test_a_champion_of_other_data_is_not_compared(change):
    better = replace(CHAMPION, measures={"swd_average": 1.0})
    assert not judge(GOOD, better).passed
    verdict = judge(GOOD, replace(better, **change))
    assert verdict.passed
    assert f"another {next(iter(change))}" in verdict.reasons[-1].text


@pytest.fixture
def stopped(tmp_path, monkeypatch, small_config):
    """The configuration of a run that may stop after r0004, which is trained and evaluated."""
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


def limited(config, limit):
    return replace(config, gate=replace(config.gate, swd_max=limit))


def test_a_phase_that_passed_lets_the_next_begin(stopped):
    refuse_to_go_on(stopped, "r0008")
    refuse_to_go_on(limited(stopped, 1.0), "r0004")  # only later phases need the verdict
    refuse_to_go_on(replace(stopped, gate=replace(stopped.gate, swd_max=1.0, stop_after=None)), "r0008")


def test_a_phase_that_failed_stops_all_later_ones(stopped):
    message = "gate.stop_after: r0016 is not trained, r0004 failed: swd_average is 50; must be at most 1"
    with pytest.raises(InputError, match=message):
        refuse_to_go_on(limited(stopped, 1.0), "r0016")


def test_the_verdict_must_be_on_the_present_checkpoint(stopped):
    write_checkpoint(Path("checkpoints/r0004"), facts_of(), {"w": torch.zeros(1)}, {})
    with pytest.raises(InputError, match="not evaluated; run dvc repro evaluate@r0004, then this again"):
        refuse_to_go_on(stopped, "r0008")
    Path("evaluation/r0004.json").unlink()
    with pytest.raises(InputError, match="r0008 waits for the verdict on r0004"):
        refuse_to_go_on(stopped, "r0008")
