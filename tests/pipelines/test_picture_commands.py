"""The commands that make images and films."""

from dataclasses import replace

import pytest
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import app
from progan.errors import InputError
from tests.checkpoints import write_made_checkpoint


@pytest.fixture
def project(tmp_path, small_config, monkeypatch):
    """A folder with the checkpoints of two phases of cats and dogs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    network = replace(small_config.network, label_size=2)
    first, second = (tmp_path / "checkpoints" / name for name in ("r0004", "r0008"))
    write_made_checkpoint(first, network, 4, ["cats", "dogs"])
    write_made_checkpoint(second, network, 8, ["cats", "dogs"], init=first)
    return tmp_path


def test_each_command_writes_its_file(project):
    options = "--seeds 1-4 --label dogs --truncation 0.7"
    film = f"{options} --seconds 1 --fps 4"
    phase = "checkpoints/r0008"
    for line, output in {
        f"generate {phase} {options} --out sheet.png": f"sheet.png: 4 images of {phase}",
        f"interpolate {phase} {film} --walks 2 --out walk.gif": f"walk.gif: 1 s of {phase}",
        f"timelapse {film} --out growing.mp4": "growing.mp4: 1 s, r0004 to r0008 of checkpoints",
        f"compare {phase} checkpoints/r0004": f"compare.html: {phase}, checkpoints/r0004",
        "explore checkpoints": "explore.html: r0004, r0008 of checkpoints, 0.1 MB; open it in a browser",
    }.items():
        result = CliRunner().invoke(app, line.split(), catch_exceptions=False)
        assert result.exit_code == 0
        assert result.stdout.splitlines() == [output]
    assert Image.open("walk.gif").size == (2 * 160 + 2, 160)
    files = sorted(path.name for path in project.iterdir())
    assert files == ["checkpoints", "compare.html", "explore.html", "growing.mp4", "sheet.png", "walk.gif"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("generate nowhere --out x.png", "nowhere: no finished phase here; name its folder"),
        ("generate checkpoints/r0008 --seeds , --out x.png", "--seeds: ,: whole numbers and ranges"),
        ("interpolate checkpoints/r0008 --label birds --out x.gif", "label birds: expected one of"),
        ("timelapse models:/x@y --out x.mp4", "models:/x@y: no registry at sqlite:///mlflow.db"),
        ("compare checkpoints/r0008", "checkpoints/r0008: name at least two generators"),
        ("explore checkpoints --out x.png", "--out: x.png: a file name that ends with .html is expected"),
        ("explore faces.onnx", "faces.onnx: is an ONNX file; name a checkpoint, snapshots, or a version"),
        ("explore nowhere", "nowhere: no finished phase here; name its folder, such as checkpoints/r0032"),
        ("export checkpoints/r0008", "progan export: name what to write: --onnx FILE or --card FOLDER"),
        ("export checkpoints/r0008 --card checkpoints", "--card: checkpoints: exists already; name a new"),
        ("export checkpoints/r0008 --onnx x.pt", "--onnx: x.pt: a file name that ends with .onnx"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(project, line, message):
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(app, line.split(), catch_exceptions=False)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert [path.name for path in project.iterdir()] == ["checkpoints"]
