"""`progan dataset show` and `progan dataset verify`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from progan.config import DatasetConfig
from progan.dataset.build import build
from progan.dataset.reader import load_manifest


@pytest.fixture
def built(photographs, tmp_path):
    (photographs / "cats" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    (photographs / "dogs").rename(photographs / "[red]")  # rich would take it for a colour
    config = DatasetConfig("folder", str(photographs), 4, 16, 123, (), None, 0.1, "report")
    build(config, tmp_path / "built", workers=1)
    return tmp_path / "built"


def progan(*arguments, where):
    command = [Path(sys.executable).with_name("progan"), *arguments]
    return subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=120)


def test_show(built, tmp_path):
    shown = progan("dataset", "show", "built", "--sheet", "sheet.png", where=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    words = re.sub(r"[\s│]+", " ", shown.stdout)
    assert "photographs: 40 images, from folder" in words
    assert "label_attributes: [] · max_images: null" in words
    for side in (4, 8, 16):
        assert f"{side} × {side} 40 1 " in words
    assert "[red] 0 20 50.0%" in words
    assert "Skipped: 1 " in words
    assert "cats/torn.jpg not an image " in words
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] > 800


def test_verify(built, tmp_path):
    whole = progan("dataset", "verify", "built", where=tmp_path)
    assert whole.returncode == 0
    first, second = whole.stdout.splitlines()
    assert first == "built: all 3 shards of photographs match their digests, 40 images"
    assert second == f"digest of the manifest: {load_manifest(built).digest}"
    shard = next((built / "r0008").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1])
    damaged = progan("dataset", "verify", "built", where=tmp_path)
    assert (damaged.returncode, damaged.stdout) == (2, "")
    last = damaged.stderr.splitlines()[-1]
    assert last.startswith("progan: built: 1 wrong: r0008/train-00000-of-00001.parquet has ")


@pytest.mark.parametrize("command", ["show", "verify"])
def test_no_dataset(tmp_path, command):
    done = progan("dataset", command, where=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("progan: data/multires/dataset.json: no such file; ")
    assert list(tmp_path.iterdir()) == []
