"""The page that shows a version beside the champion, in the registry and by the command."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from components.pictures import compare
from components.register.promotion import promote
from components.tracking.client import client
from tests.components.register.finished_run import artifacts, change_evaluation, run_gate_and_register


@pytest.fixture
def challenger(run, tmp_path, monkeypatch):
    """The configuration of a second run, after the first was registered and promoted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = run_gate_and_register(run).run
    assert "compare.html" not in artifacts(first)
    promote(run.register.model, "1", "none", "")
    change_evaluation("other", swd_average=45.0)
    return replace(run, training=replace(run.training, seed=7))


def test_a_version_is_shown_beside_the_champion(challenger):
    model, second = challenger.register.model, run_gate_and_register(challenger)
    registry = client()
    html = Path(registry.download_artifacts(second.run, "compare.html")).read_text()
    assert html.count("<img") == 2 * 8
    assert set(re.findall(r'class="alias">(.*?)<', html)) == {"champion"}
    assert 'class="best">45.0' in html
    assert '<code>training.seed</code></td><td data-heading="version 2"><span>7</span>' in html
    experiment = registry.get_run(second.run).info.experiment_id
    link = f"(#/experiments/{experiment}/runs/{second.run}/artifacts/compare.html)"
    description = registry.get_model_version(model, "2").description
    assert f"[The same seeds beside version 1, the champion then]{link}" in description

    promote(model, "2", "1", "")
    run_gate_and_register(challenger)
    assert link in registry.get_model_version(model, "2").description
    addresses = [f"models:/{model}@champion", f"models:/{model}/1", "checkpoints/r0004"]
    compare.compare(addresses, range(3), None, Path("page.html"))
    html = Path("page.html").read_text()
    assert html.count("<img") == 3 * 3
    assert ">champion<" in html
    assert ">previous-champion<" in html


def test_a_comparison_that_fails_is_one_line(challenger, monkeypatch, capsys):
    def fail(*given):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(compare, "comparison", fail)
    second = run_gate_and_register(challenger)
    assert second.version == "2"
    assert "compare.html: left out: out of memory\n" in capsys.readouterr().err
    assert "compare.html" not in artifacts(second.run)
    assert "compare.html" not in client().get_model_version(challenger.register.model, "2").description
