"""The page in which a version's generator runs, in the registry."""

from pathlib import Path

import pytest

from components.pictures import explore
from components.register import exploration
from components.tracking.client import client
from tests.components.register.finished_run import artifacts, failing, run_gate_and_register


def test_a_version_has_its_page(run, monkeypatch):
    registration = run_gate_and_register(run)
    registry, model = client(), run.register.model
    html = Path(registry.download_artifacts(registration.run, "explore.html")).read_text()
    assert f"<h1>{model} version 1</h1>" in html
    assert f'"source": "models:/{model}/1"' in html
    experiment = registry.get_run(registration.run).info.experiment_id
    link = f"(#/experiments/{experiment}/runs/{registration.run}/artifacts/explore.html)"
    assert link in registry.get_model_version(model, "1").description
    monkeypatch.setattr(explore, "page", lambda *given: pytest.fail("it is logged already"))
    run_gate_and_register(run)
    assert link in registry.get_model_version(model, "1").description


def test_a_network_that_is_too_large_is_registered_without(run, monkeypatch, capsys):
    monkeypatch.setattr(explore, "SLOWEST_IN_WEBGPU", 1000)
    registration = run_gate_and_register(run)
    model = run.register.model
    assert f"explore.html: left out: models:/{model}/1: too large for a page" in capsys.readouterr().err
    assert "explore.html" not in artifacts(registration.run)
    assert "explore.html" not in client().get_model_version(model, "1").description


def test_a_page_that_is_too_large_for_each_version(run, monkeypatch):
    """Its command stands in the description instead."""
    monkeypatch.setattr(exploration, "LARGEST_LOGGED", 1000)
    registration = run_gate_and_register(run)
    model = run.register.model
    assert "explore.html" not in artifacts(registration.run)
    assert f"`progan explore models:/{model}/1`" in client().get_model_version(model, "1").description


def test_a_run_that_failed_has_none(run):
    assert "explore.html" not in artifacts(run_gate_and_register(failing(run)).run)
