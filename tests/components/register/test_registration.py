"""What is registered, what is not, and the champion that candidates are compared with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from components import stages
from components.gate.stage import gate
from components.gate.verdict import Verdict
from components.register import component
from components.register.promotion import promote
from components.register.registration import Registration
from components.register.registry import Champion, find_champion
from components.register.stage import register
from components.results import Results, trace
from components.tracking.client import client
from progan import config as params
from progan.dataset.reader import load_manifest
from progan.errors import InputError
from progan.history import History
from tests.components.register.finished_run import (
    artifacts,
    change_evaluation,
    child_of,
    failing,
    run_gate_and_register,
)
from tests.evaluations import evaluation
from tests.layout import run_files


def test_a_passing_generator_is_registered_once(run):
    first = run_gate_and_register(run)
    again = run_gate_and_register(run)
    assert first == again
    assert first.version == "1"
    registry = client()
    version = registry.get_model_version_by_alias(run.register.model, "candidate")
    assert str(version.version) == "1"
    assert version.tags["gate"] == "passed"
    assert version.tags["swd_average"] == "50"
    assert version.tags["dataset"] == "data"
    assert len(version.tags["git_commit"]) >= 4
    assert json.loads(version.tags["verdict"])["passed"] is True
    experiment = registry.get_experiment_by_name(run.register.model).experiment_id
    runs = registry.search_runs([experiment])
    assert len(runs) == 2
    child = next(each for each in runs if "mlflow.parentRunId" in each.data.tags)
    assert child.data.tags["phase"] == "r0004"
    assert child.data.tags["mlflow.parentRunId"] == first.run
    assert child.data.params["minibatch"] == "8"
    parent = registry.get_run(first.run)
    params = parent.data.params
    for name, text in {
        "phases.r0004.stable_kimg": "0.08",
        "dataset.source": run.dataset.source,
        "measures.swd_images": "16",
        "gate.swd_max": "1000000.0",
        "gate.stop_after": "null",
        "register.model": run.register.model,
    }.items():
        assert params[name] == text
    for logged in (parent, child):
        assert logged.info.start_time == 1795598024500
        seconds = History.read(Path("history/r0004.csv")).total.seconds
        assert logged.info.end_time - logged.info.start_time == round(1000 * seconds)
    losses = registry.get_metric_history(child.info.run_id, "curves/d_loss")
    rows = History.read(Path("history/r0004.csv")).rows
    assert [loss.step for loss in losses] == [row.images for row in rows if row.d_loss is not None]
    assert np.isfinite([loss.value for loss in losses]).all()


def test_a_failing_generator_is_not(run, capsys):
    registration = run_gate_and_register(failing(run))
    assert registration.version is None
    assert client().search_registered_models() == []
    output = capsys.readouterr().out
    assert "FAILED, nothing will be registered" in output
    assert "✗ ms_ssim is 1.5; must be at most 1" in output
    assert client().get_run(registration.run).data.tags["gate"] == "failed"


def test_a_registered_generator_that_fails_later(run):
    """Its version is updated and is no candidate any more."""
    run_gate_and_register(run)
    assert run_gate_and_register(failing(run)).version is None
    registry = client()
    version = registry.get_model_version(run.register.model, "1")
    assert (version.tags["gate"], version.aliases) == ("failed", [])
    assert "✗ ms_ssim is 1.5" in version.description


def test_an_experiment_changes_no_version_and_no_alias(run, monkeypatch):
    """A new training becomes a version without alias; applied to the project, it becomes the candidate."""
    run_gate_and_register(run)
    registry, model = client(), run.register.model
    before = registry.get_model_version(model, "1")
    monkeypatch.setenv("DVC_EXP_NAME", "strict-gate")
    assert run_gate_and_register(failing(run)).version is None
    change_evaluation("another", ms_ssim=0.4)
    assert run_gate_and_register(run).version == "2"
    after = registry.get_model_version(model, "1")
    assert (after.tags, after.aliases, after.description) == (before.tags, ["candidate"], before.description)
    monkeypatch.delenv("DVC_EXP_NAME")
    assert run_gate_and_register(run).version == "2"
    assert str(registry.get_model_version_by_alias(model, "candidate").version) == "2"


def test_an_image_without_git_knows_its_commit(run, monkeypatch):
    monkeypatch.setenv("PATH", "")
    run_gate_and_register(run)
    assert client().get_model_version(run.register.model, "1").tags["git_commit"] == "none"
    monkeypatch.setenv("PROGAN_GIT_COMMIT", "c0ffee")
    run_gate_and_register(run)
    assert client().get_model_version(run.register.model, "1").tags["git_commit"] == "c0ffee"
    monkeypatch.setenv("PROGAN_GIT_COMMIT", "1a7e2")
    run_gate_and_register(run)
    assert client().get_model_version(run.register.model, "1").tags["git_commit"] == "c0ffee"
    assert "git checkout c0ffee" in client().get_model_version(run.register.model, "1").description


def test_a_cluster_logs_failed_runs_too(run):
    """The task follows every verdict, and takes its inputs from the results."""
    results, manifest = Results("results"), load_manifest(Path("multires"))

    def keep_all():
        """Store the results of all tasks, one by one: each decides the identities of the next ones."""
        while missing := next((each for each in trace(run, manifest, results) if not each.receipt), None):
            results.keep(missing.task, missing.identity, Path())

    def registered(ms_ssim):
        change_evaluation(ms_ssim=ms_ssim)
        shutil.rmtree("results/evaluate", ignore_errors=True)
        keep_all()
        gate(run, Path("evaluation/r0004.json"), Path("verdict.json"))
        results.keep(stages.task(run, "gate"), "run-1", Path())
        component.register.python_func(
            params=params.to_text(run), dataset_uri="multires", dataset_digest=manifest.digest,
            results="results", run="run-1",
        )  # fmt: skip
        return Registration.read(Path("results/runs/run-1/registration.json"))

    assert registered(None).version is None
    child = child_of(registered(1.5).run)
    assert client().search_registered_models() == []
    assert artifacts(child.info.run_id) == ["images", "preview.png", "samples.png"]
    registration = registered(0.4)
    assert registration.version == "1"
    assert "checkpoint" in artifacts(child_of(registration.run).info.run_id)


def test_candidates_are_compared_with_the_champion(run):
    assert find_champion(run.register.model) is None
    run_gate_and_register(run)
    assert find_champion(run.register.model) is None
    promote(run.register.model, "1", "none", "nan")
    assert find_champion(run.register.model) == Champion("1", "data", 4, evaluation().measures)
    change_evaluation("another", swd_average=80.0)
    gate(run, Path("evaluation/r0004.json"), Path("verdict.json"))
    verdict = Verdict.read(Path("verdict.json"))
    assert not verdict.passed
    assert "1.1 × the champion's 50" in verdict.reasons[-1].text


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda: change_evaluation(swd_average=1.0), "verdict.json: is not about the evaluation of r0004"),
        (lambda: retrain("other"), "checkpoints/r0004: is not the checkpoint that was evaluated; run dvc"),
        (lambda: replace_text("verdict.json", '"passed": true', '"passed": false'), "verdict.json: passed: "),
        (lambda: replace_text("verdict.json", "at most 1e", "at most 2e"), "verdict.json: digest: is not"),
        (lambda: replace_text("evaluation/r0004.json", ": 50.0", ": -5.0"), "measures.swd_average: must be"),
        (lambda: replace_text("evaluation/r0004.json", ": 50.0", ": true"), "measures.swd_average: must be"),
    ],
)
def test_what_is_registered_is_what_was_judged(run, edit, told):
    gate(run, Path("evaluation/r0004.json"), Path("verdict.json"))
    edit()
    with pytest.raises(InputError, match=told):
        register(run, run_files(run), "multires")
    assert client().search_registered_models() == []


def retrain(identity):
    """Make the checkpoint that of another task."""
    evaluation = Path("evaluation/r0004.json").read_bytes()
    change_evaluation(identity)
    Path("evaluation/r0004.json").write_bytes(evaluation)


def replace_text(file, old, new):
    text = Path(file).read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new, 1))
