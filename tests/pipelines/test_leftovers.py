"""A phase that is taken out of params.yaml leaves nothing on which dvc.lock would depend."""

import shutil
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from typer.testing import CliRunner

from pipelines import cli
from pipelines.dvc import Checkout
from progan.errors import InputError
from tests.evaluations import evaluation

FOLDERS = ("checkpoints", "history", "grids", "evaluation", "samples")


def of_the_second_phase():
    return {path for folder in FOLDERS for path in Path(folder).glob("r0008*")}


@pytest.fixture
def phase(finished):
    """The project has one phase fewer now; returns what it was."""
    values = yaml.safe_load(Path("params.yaml").read_text())
    removed = values["phases"].pop("r0008")
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return removed


def test_the_gate_removes_them_and_dvc_brings_them_back(finished, phase, monkeypatch):
    """As the first stage whose parameters change with the phases."""
    monkeypatch.setattr("components.gate.stage.find_champion", lambda model: None)
    evaluation("r0004").write(Path("evaluation/r0004.json"))
    before = {path: path.read_bytes() for path in of_the_second_phase() if path.is_file()}
    result = CliRunner().invoke(cli.app, ["gate"])
    assert result.exit_code == 0, result.exception
    assert "checkpoints/r0008: of no phase in params.yaml; removed, DVC keeps a copy" in result.stdout
    assert not of_the_second_phase()
    assert Path("checkpoints/r0004").exists()
    finished.change(phases={"r0008": phase})
    with Repo() as repo:
        repo.checkout(force=True)
    assert {path: path.read_bytes() for path in before} == before


def test_what_dvc_has_no_copy_of_stays(finished, phase, capsys):
    Path("history/r0008.csv").write_text("changed by hand")
    shutil.rmtree(".dvc/cache")
    Checkout().remove_leftovers()
    assert "checkpoints/r0008" in map(str, of_the_second_phase())
    assert "history/r0008.csv: of no phase in params.yaml, and DVC has no copy" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["", "[]", "stages: 1", "stages: {train@r0008: 1}", "schema: '2.0'", "{", "\0"]
)
def test_a_dvc_lock_that_dvc_has_not_written(finished, content):
    Path("dvc.lock").write_text(content)
    with pytest.raises(InputError, match=r"^(dvc\.lock: not |DVC: )"):
        Checkout().remove_leftovers()
