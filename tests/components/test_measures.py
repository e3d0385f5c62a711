"""The table of measures, and the files that use its names."""

from pathlib import Path

import pytest

from components.evaluate.evaluation import Evaluation
from components.evaluate.measures import MEASURES, measures_in, swd_level
from components.gate.verdict import Verdict
from components.register.mlflow_registry import Champion
from components.register.registration import Registration
from progan.errors import InputError
from progan.files import read_json, write_json
from tests.conftest import ROOT
from tests.evaluations import EVALUATION, evaluation, verdict


def test_every_measure_is_documented():
    text = (ROOT / "docs/report.md").read_text()
    assert [row.title for row in MEASURES if f"**{row.title.removesuffix(' × 1000')}" not in text] == []


def test_the_rows_of_evaluations():
    """The levels of the SWD follow their average, coarse to fine."""
    values = {"fid": 9.0, "swd_32": 1.0, "swd_average": 2.0, "swd_16": 3.0, "swd_floor_16": 1.0, "other": 1.0}
    assert [row.name for row in measures_in([values])] == ["swd_average", "swd_16", "swd_32", "fid"]
    assert [row.name for row in measures_in([{"fid": None}, {"ms_ssim": 0.4}])] == ["ms_ssim", "fid"]
    level = swd_level(32)
    assert (level.title, level.reals, level.limit) == ("SWD at 32 px", "swd_floor_32", None)
    assert (level.text(1234.56), level.text(None)) == ("1,234.6", "–")


def test_kubeflow_takes_only_numbers():
    assert evaluation(fid=None).numbers == {"kimg": 0.1, **EVALUATION.measures}


VALUES = (
    evaluation(fid=None),
    verdict(evaluation()),
    verdict(evaluation(), champion=Champion("3", "data", 4, {"swd_average": 40.0})),
    Registration("faces", None, "abc"),
)


@pytest.mark.parametrize("value", VALUES)
def test_writing_and_reading(tmp_path, value):
    value.write(tmp_path / "value.json")
    assert type(value).read(tmp_path / "value.json") == value


@pytest.mark.parametrize(
    ("kind", "name", "change", "message"),
    [
        (Evaluation, "evaluation/r0004.json", {"resolution": "4"}, "resolution: must be a whole number, not '4'"),
        (
            Evaluation,
            "evaluation/r0004.json",
            {"measures": {"fid": "9"}},
            "measures.fid: must be a number, not '9'",
        ),
        (Verdict, "verdict.json", {"reasons": [{"passed": True}]}, "reasons.0.measure: missing"),
        (Registration, "registration.json", {"version": 3}, "version: must be text, not 3"),
    ],
)
def test_an_edited_file_is_one_line(tmp_path, kind, name, change, message):
    """Where, what, and what to do."""
    path = tmp_path / name
    next(value for value in VALUES if type(value) is kind).write(path)
    write_json(path, read_json(path) | change)
    stage = {"evaluation": "evaluate@r0004", "verdict": "gate", "registration": "register"}[
        Path(name).parts[0].removesuffix(".json")
    ]
    with pytest.raises(InputError) as error:
        kind.read(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert str(error.value).endswith(f"run dvc repro -fs {stage}, then this again")
    assert "\n" not in str(error.value)


def test_a_file_of_an_older_version_is_one_line(tmp_path):
    evaluation().write(tmp_path / "r0004.json")
    older = read_json(tmp_path / "r0004.json")
    del older["identity"]
    write_json(tmp_path / "r0004.json", older)
    with pytest.raises(InputError, match=r"r0004.json: identity: missing; .* an older version wrote"):
        Evaluation.read(tmp_path / "r0004.json")
