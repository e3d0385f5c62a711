"""The report of a run that came only so far."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from components.report.stage import ReportFiles, report
from components.train_phase.stage import _write_history
from progan.files import write_json

ROW = {
    "kimg": 0.0, "images": 0, "alpha": 1.0, "learning_rate": 0.001, "minibatch": 8, "d_loss": 1.0,
    "g_loss": 2.0, "gradient_norm": 1.0, "skipped": 0, "seconds": 0.0, "images_per_second": 10.0, "swd": 50.0,
}  # fmt: skip
EVALUATION = {
    "kimg": 0.1, "swd": {"16": 50.0, "average": 50.0}, "swd_floor": 5.0, "ms_ssim": 0.4, "ms_ssim_reals": 0.2,
}  # fmt: skip


@pytest.fixture
def page(tmp_path, monkeypatch, small_config):
    """Returns a function that reports what lies in the folder."""
    monkeypatch.chdir(tmp_path)

    def page(failure=None):
        report(small_config, ReportFiles.below(Path(), Path("multires")), Path("report"), failure)
        return Path("report/report.html").read_text()

    return page


def trained(key):
    rows = [ROW, ROW | {"kimg": 0.1, "images": 100, "seconds": 65.0, "swd": 40.0}]
    _write_history(Path(f"history/{key}.csv"), rows)


def evaluated(key):
    write_json(Path(f"evaluation/{key}.json"), EVALUATION | {"phase": key})
    Path("samples").mkdir(exist_ok=True)
    Image.new("RGB", (8, 8)).save(f"samples/{key}.png")


def test_nothing_was_made(page):
    html = page("FAILED no photographs <here>")
    assert "The run did not finish</strong>: FAILED no photographs &lt;here&gt;" in html
    assert "No dataset was built" in html
    assert "<h2>Samples</h2>" not in html


def test_one_phase_is_done_and_one_is_not_measured(page):
    for key in ("r0004", "r0008"):
        trained(key)
    evaluated("r0004")
    html = page("FAILED")
    assert html.count("data:image/png") == 1
    assert "trained to 4 px in 2m 10s" in html
    assert "registered" not in html
    with Path("report/training.csv").open() as file:
        assert {row["phase"] for row in csv.DictReader(file)} == {"r0004", "r0008"}


def test_a_verdict_of_no_and_no_registration(page):
    trained("r0004")
    evaluated("r0004")
    reason = {"measure": "swd", "value": 50.0, "limit": 1.0, "passed": False, "text": "swd is 50"}
    write_json(Path("verdict.json"), {"phase": "r0004", "passed": False, "reasons": [reason]})
    html = page()
    assert "<strong>Failed</strong> at r0004: nothing was registered" in html
    assert "✗ swd is 50" in html
    assert "did not finish" not in html
