"""The table of measures, and the files that use its names."""

import pytest

from components.evaluate.measures import MEASURES, measures_in, swd_level
from components.register.registration import Registration
from components.register.registry import Champion
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


@pytest.mark.parametrize(
    ("value", "name", "change", "message", "task"),
    [
        (
            evaluation(fid=None),
            "r0004.json",
            {"measures": {"fid": "9"}},
            "measures.fid: must be",
            "evaluate@r0004",
        ),
        (
            verdict(evaluation()),
            "verdict.json",
            {"reasons": [{"passed": True}]},
            "reasons.0.measure: missing",
            "gate",
        ),
        (
            verdict(evaluation(), champion=Champion("3", "data", 4, {"swd_average": 40.0})),
            *("verdict.json", {"passed": "yes"}, "passed: must be true or false", "gate"),
        ),
        (
            Registration("faces", None, "abc"),
            "registration.json",
            {"version": 3},
            "version: must be text",
            "register",
        ),
    ],
)
def test_files_are_read_as_written_and_an_edited_one_is_one_line(
    tmp_path, value, name, change, message, task
):
    """Where, what, and what to do."""
    path, kind = tmp_path / name, type(value)
    value.write(path)
    assert kind.read(path) == value
    write_json(path, read_json(path) | change)
    with pytest.raises(InputError) as error:
        kind.read(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert str(error.value).endswith(f"an older version wrote it: run dvc repro -fs {task}, then this again")
