"""Measures by flat names; Kubeflow takes only those that are numbers."""

from components.evaluate.measures import flat_measures
from components.evaluate.stage import numbers
from progan.files import write_json

EVALUATION = {"phase": "r0016", "swd": {"16": 1.0, "average": 2.0}, "ms_ssim": 0.5, "fid": None}


def test_flat_measures():
    flat = {"phase": "r0016", "swd_16": 1.0, "swd_average": 2.0, "ms_ssim": 0.5, "fid": None}
    assert flat_measures(EVALUATION) == flat


def test_numbers(tmp_path):
    write_json(tmp_path / "r0016.json", EVALUATION)
    assert numbers(tmp_path / "r0016.json") == {"swd_16": 1.0, "swd_average": 2.0, "ms_ssim": 0.5}
