"""What the stage says of a dataset, and whose word counts on images that are close."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from components.build_dataset.stage import build_dataset
from progan.dataset.reader import load_manifest
from progan.dataset.sources.by_name import SOURCES
from progan.dataset.sources.source import Check, Item, Picture, UnusableImage


@dataclasses.dataclass(frozen=True)
class Reconstructed:
    """Two exact images, one close, which `strict` skips, one failed."""

    strict: bool
    items: tuple[Item, ...] = tuple(Item(name, None) for name in ("exact 1", "exact 2", "close", "failed"))
    classes: tuple[str, ...] = ()
    identity: str = ""
    channels: int = 3

    def load(self, item):
        check = Check(item.name.split()[0], "")
        if check.result == "failed" or (check.result == "close" and self.strict):
            raise UnusableImage("no", check)
        return Picture(np.zeros((16, 16, 3), np.uint8), check=check)


@pytest.fixture
def with_dataset(small_config, monkeypatch):
    monkeypatch.setitem(SOURCES, "known", lambda config, scratch: Reconstructed(config.verify == "strict"))

    def change(**changes):
        dataset = dataclasses.replace(small_config.dataset, label_attributes=(), **changes)
        return dataclasses.replace(small_config, dataset=dataset)

    return change


@pytest.mark.parametrize(("verify", "images"), [("report", 3), ("strict", 2)])
def test_verify(with_dataset, tmp_path, capsys, verify, images):
    config = with_dataset(source="known", verify=verify, max_skipped=0.5)
    out = tmp_path / "out"
    build_dataset(config, out)
    manifest = load_manifest(out)
    assert manifest.images == images
    assert manifest.parameters["verify"] == verify
    first, skipped, checks = capsys.readouterr().out.splitlines()
    assert skipped.startswith(f"skipped, unusable: {4 - images}: failed (no)")
    assert [first, checks] == [
        f"{out}: {images} images of 4 to 16 px",
        f"checks: 2 exact, 1 close, 1 failed ({out}/checks.csv)",
    ]


@pytest.mark.parametrize(
    ("names", "doubt"),
    [
        (
            ("train", "cats", "Val"),
            "classes: Val, train are parts of a data set by their names; if they are",
        ),
        (("00000", "00001"), "classes: 00000 … 00001 are the numbered folders of a data set by their names"),
        (("a", "b", "c", "d", "e"), "classes: 5 for 8 images; if they are"),
        (("cats", "train"), None),
        (("0", "1"), None),
    ],
)
def test_folders_that_are_hardly_classes_are_named(with_dataset, tmp_path, capsys, names, doubt):
    for number in range(8):
        folder = tmp_path / "p" / names[number % len(names)]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(folder / f"{number}.png")
    build_dataset(with_dataset(source="folder", path=str(tmp_path / "p")), tmp_path / "out")
    output = capsys.readouterr().out
    assert doubt in output if doubt else "classes" not in output
    build_dataset(with_dataset(source="folder", path=str(tmp_path / "p"), labels="none"), tmp_path / "out")
    assert "classes" not in capsys.readouterr().out


def test_it_says_what_became_of_each_file(with_dataset, photographs, tmp_path, capsys):
    config = with_dataset(source="folder", path=str(photographs), max_skipped=0.5)
    build_dataset(config, tmp_path / "out")
    assert capsys.readouterr().out == f"{tmp_path}/out: 40 images of 4 to 16 px\n"
    assert "passed_over" not in (tmp_path / "out/dataset.json").read_text()
    (photographs / "notes.txt").write_text("no photograph")
    (photographs / "empty.png").write_bytes(b"")
    Image.new("RGB", (9, 9)).save(photographs / "small.bmp")
    build_dataset(config, tmp_path / "out")
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/out: 41 images of 4 to 16 px",
        "enlarged, smaller than 16 px: 1",
        "skipped, unusable: 1: empty.png (the file is empty)",
        "passed over, not read as photographs: 1: notes.txt",
    ]
    assert load_manifest(tmp_path / "out").passed_over_items == ("notes.txt",)
