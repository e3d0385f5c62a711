"""The live record: what lies there while a phase trains, after a stop and at its end."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from components.train import live
from components.train.fixed_latents import FixedLatents
from components.train.live import LiveRecord
from progan.config import PhaseConfig
from progan.errors import Interrupted, Unavailable
from progan.history import Readings
from progan.snapshots import SnapshotFolder
from progan.store import FolderStore
from progan.training import PhaseTrainer
from tests.progan import ranks
from tests.progan.ranks import tensors_of

FADING = PhaseConfig(8, "checkpoints/r0004", 0.128, 0.032, 8, 0.001)  # 20 iterations, each a picture


@pytest.fixture
def trained(small_config, noise, tmp_path, monkeypatch):
    """A function that trains with a record until `stop_at`: the trainer, the record's folder, the notices."""
    monkeypatch.setattr(live, "SHARE", 1e9)  # pictures take longer than these iterations

    def send(*renewal):
        train.sent.append(renewal)

    def train(stop_at=np.inf, store=None, folder="phase"):
        trainer = PhaseTrainer(small_config, FADING, noise, "data", None, torch.device("cpu"))
        snapshots, notices = FolderStore(tmp_path), []
        latents = FixedLatents(8, small_config)
        record = LiveRecord(store or snapshots, folder, latents, noise, Readings, notices.append, send)
        with record as renew:
            hooks = replace(ranks.hooks(stop_at, trainer), live=renew)
            trainer.train(SnapshotFolder(snapshots, "r0008", "data"), hooks)
        return trainer, notices

    train.folder, train.sent = tmp_path / "phase/live", []
    train.state = lambda: json.loads((train.folder / "state.json").read_text())
    return train


def test_from_the_first_iteration_to_the_end(trained):
    with pytest.raises(Interrupted):
        trained(stop_at=24)
    state, first = trained.state(), (trained.folder / "grid.png").read_bytes()
    assert (state["state"], state["images"], state["total_images"]) == ("stopped", 24, 160)
    assert state["newest"]["alpha"] == pytest.approx(24 / 128)
    trainer, notices = trained()
    state = trained.state()
    assert (state["state"], state["images"], state["problems"]) == ("finished", 160, [])
    assert notices == []
    assert [live.state for live, _, _ in trained.sent].count("stopped") == 1
    live, rows, picture = trained.sent[-1]
    assert (live.state, rows) == ("finished", trainer.history)
    assert picture == (trained.folder / "grid.png").read_bytes()
    assert state["newest"]["d_loss"] == trainer.history[-1].d_loss
    newest, before = (Image.open(trained.folder / name) for name in ("grid.png", "before.png"))
    assert newest.size == before.size
    assert (trained.folder / "grid.png").read_bytes() not in (
        first,
        (trained.folder / "before.png").read_bytes(),
    )
    page = (trained.folder / "index.html").read_text()
    rows = json.loads(page.split("const rows = ")[1].split(";\n")[0])
    assert [row["images"] for row in rows] == [row.images for row in trainer.history]


def test_as_many_pictures_as_promised(trained, monkeypatch):
    made = []
    images = FixedLatents.images
    monkeypatch.setattr(FixedLatents, "images", lambda *of: made.append(images(*of)) or made[-1])
    monkeypatch.setattr(LiveRecord, "_write", lambda *of: 0.0)
    trained()
    assert len(made) >= 20


def test_pictures_wait_if_they_take_too_long(trained, monkeypatch):
    monkeypatch.setattr(live, "SHARE", 0.0)
    images, made = FixedLatents.images, []
    monkeypatch.setattr(FixedLatents, "images", lambda *of: made.append(images(*of)) or made[-1])
    trained()
    assert len(made) == 2  # the first and the last


def test_training_gives_the_same_with_a_record_that_fails(trained, small_config, noise, tmp_path):
    class Away(FolderStore):
        def write(self, name, content):
            raise Unavailable("s3://bucket: does not answer")

    trainer, notices = trained(store=Away(tmp_path / "away"))
    assert set(notices) == {
        "warning: the live record was not renewed, training goes on: s3://bucket: does not answer"
    }
    alone = PhaseTrainer(small_config, FADING, noise, "data", None, torch.device("cpu"))
    alone.train(SnapshotFolder(FolderStore(tmp_path / "alone"), "r0008", "data"), ranks.hooks())
    with_record, without = tensors_of(trainer), tensors_of(alone)
    assert [name for name in without if not torch.equal(without[name], with_record[name])] == []


def test_a_problem_is_noticed_once_and_shown(trained, monkeypatch):
    values = itertools.cycle([1.0, 0.0])  # of generated images, of real ones
    monkeypatch.setattr(live, "mean_ms_ssim", lambda batches: next(values))
    _, notices = trained()
    (notice,) = notices
    assert notice.startswith("r0008: the images are much alike: MS-SSIM 1.00, of real ones 0.00: ")
    assert trained.state()["problems"][0]["what"] in notice
    assert "much alike" in (trained.folder / "index.html").read_text()
