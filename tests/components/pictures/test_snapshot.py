"""Pictures of a generator whose phase has not finished."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from components.pictures.generate import generate
from components.pictures.sources import sampler_of
from progan.config import PhaseConfig
from progan.errors import InputError, Interrupted
from progan.networks import one_hot
from progan.snapshots import SnapshotFolder
from progan.store import FolderStore
from progan.training import PhaseTrainer
from tests.progan import ranks

FADING = PhaseConfig(8, "checkpoints/r0004", 0.064, 0.064, 8, 0.001)


@pytest.fixture
def stopped(small_config, noise, tmp_path, monkeypatch):
    """A conditional trainer that was stopped in the middle of its fade; its snapshots are in snapshots/."""
    monkeypatch.chdir(tmp_path)
    network = dataclasses.replace(small_config.network, label_size=3)
    config = dataclasses.replace(small_config, network=network)
    trainer = PhaseTrainer(config, FADING, noise, "ab" * 16, None, torch.device("cpu"), np.arange(64) % 3)
    folder = SnapshotFolder(FolderStore(tmp_path / "snapshots"), "r0008", trainer.identity)
    with pytest.raises(Interrupted):
        trainer.train(folder, ranks.hooks(32, trainer))
    return trainer, f"snapshots/{folder.name}"


def test_the_images_of_a_fade(stopped):
    trainer, folder = stopped
    sampler = sampler_of(folder)
    assert (sampler.resolution, sampler.classes) == (8, ["0", "1", "2"])
    latents, labels = torch.randn(4, 8), torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        expected = trainer.models.ema(torch.cat([latents, one_hot(labels, 3)], 1), torch.tensor(0.5))
    torch.testing.assert_close(sampler.make(latents, labels), expected)


def test_a_sheet(stopped, tmp_path):
    generate(stopped[1], range(4), "1", 1.0, tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").width > 8


def test_snapshots_that_are_damaged(stopped, tmp_path):
    (snapshot,) = (tmp_path / stopped[1]).glob("*.safetensors")
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{stopped[1]}: no snapshot in it is whole"):
        sampler_of(stopped[1])
