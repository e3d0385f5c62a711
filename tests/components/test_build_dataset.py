"""What the stage says of a dataset, and whose word counts on images that are close."""

import dataclasses

import numpy as np
import pytest

from components.build_dataset.stage import build_dataset
from progan.dataset.reader import load_manifest
from progan.dataset.sources.registry import SOURCES
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
    assert capsys.readouterr().out.splitlines() == [
        f"{out}: {images} images at 3 resolutions",
        f"checks: 2 exact, 1 close, 1 failed ({out}/checks.csv)",
    ]


def test_without_checks_nothing_is_said_of_them(with_dataset, photographs, tmp_path, capsys):
    build_dataset(with_dataset(source="folder", path=str(photographs)), tmp_path / "out")
    assert len(capsys.readouterr().out.splitlines()) == 1
