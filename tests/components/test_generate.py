"""Pictures by seed and class, as a sheet and as files, the same as the served model's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.generate.stage import generate, parse_seeds
from components.train_phase.stage import train_phase
from progan.dataset.build import build
from progan.errors import InputError
from progan.models import build_networks
from progan.sampling import to_uint8
from progan.snapshots import read_checkpoint
from progan.store import FolderStore

CHECKPOINT = Path("checkpoints/r0004")


@pytest.fixture
def trained(tmp_path, monkeypatch, small_config, photographs):
    """Returns a function that trains r0004 of two classes of photographs, conditionally or not."""
    monkeypatch.chdir(tmp_path)
    dataset = replace(small_config.dataset, source="folder", path=str(photographs), label_attributes=())

    def train(label_size=0):
        network = replace(small_config.network, label_size=label_size)
        config = replace(small_config, dataset=dataset, network=network)
        build(config.dataset, Path("multires"), workers=1)
        files = FolderStore(Path("snapshots")), CHECKPOINT, Path("history.csv"), Path("grids")
        train_phase(config, "r0004", Path("multires"), None, *files)
        return config

    return train


def made(config, seed, label=None):
    """What the averaged generator makes of one seed: uint8 [4, 4, 3]."""
    generator, _ = build_networks(config.network, 4)
    generator.load_state_dict(read_checkpoint(CHECKPOINT).networks("ema"))
    latents = torch.randn(config.network.latent_size, generator=torch.Generator().manual_seed(seed))
    one_hot = [float(label == other) for other in range(config.network.label_size)]
    with torch.no_grad():
        image = generator(torch.cat([latents, torch.tensor(one_hot)])[None])[0]
    return to_uint8(image).permute(1, 2, 0).numpy()


def tile(sheet, row, column, side=128):
    """One image of a sheet on which each pixel of a 4 px image is 32 wide."""
    top, left = row * (side + 2) + 2, column * (side + 2) + 2
    return np.asarray(sheet)[top : top + side : side // 4, left : left + side : side // 4]


def test_a_sheet_shows_every_seed(trained):
    config = trained()
    generate(CHECKPOINT, [*range(70), 5], None, Path("sheet.png"))
    sheet = Image.open("sheet.png")
    assert sheet.size == (9 * 130 + 2, 8 * 130 + 2)
    for place, seed in ((0, 0), (8, 8), (69, 69), (70, 5)):
        expected = made(config, seed).astype(int)
        assert np.abs(tile(sheet, *divmod(place, 9)) - expected).max() <= 1


def test_a_row_for_each_class_or_one_class_alone(trained):
    config = trained(label_size=2)
    generate(CHECKPOINT, [3, 4, 9], None, Path("sheet.png"))
    sheet = Image.open("sheet.png")
    assert sheet.size == (3 * 130 + 2, 2 * 130 + 2)
    for row in range(2):
        for column, seed in enumerate([3, 4, 9]):
            assert np.abs(tile(sheet, row, column) - made(config, seed, row).astype(int)).max() <= 1
    generate(CHECKPOINT, [3, 9], "dogs", Path("dogs"))
    assert sorted(path.name for path in Path("dogs").iterdir()) == [
        "dogs-seed0003.png",
        "dogs-seed0009.png",
    ]
    dog = np.asarray(Image.open("dogs/dogs-seed0009.png"))
    assert np.abs(dog - made(config, 9, 1).astype(int)).max() <= 1
    generate(CHECKPOINT, [9], "1", Path("one"))
    np.testing.assert_array_equal(np.asarray(Image.open("one/dogs-seed0009.png")), dog)


@pytest.mark.parametrize(
    ("text", "seeds"), [("7", [7]), ("0-3", [0, 1, 2, 3]), ("1,4,8-10", [1, 4, 8, 9, 10]), (" 2 , 3", [2, 3])]
)
def test_seeds_as_people_write_them(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "1.5", "0-1000000", str(2**63)])
def test_what_are_no_seeds(text):
    with pytest.raises(InputError, match=r"--seeds: .* expected"):
        parse_seeds(text)


def test_bad_input_is_one_clear_line(trained):
    trained(label_size=2)
    with pytest.raises(
        InputError, match="--label: birds: no class of checkpoints/r0004; there are cats, dogs"
    ):
        generate(CHECKPOINT, [1], "birds", Path("x.png"))
    with pytest.raises(InputError, match="--label: 2: no class of"):
        generate(CHECKPOINT, [1], "2", Path("x.png"))
    with pytest.raises(InputError, match="multires: exists already; name a new folder"):
        generate(CHECKPOINT, [1], None, Path("multires"))
    with pytest.raises(InputError, match="nowhere/checkpoint.json: no such file"):
        generate(Path("nowhere"), [1], None, Path("x.png"))
    assert not Path("x.png").exists()


def test_no_label_without_classes(trained):
    trained()
    with pytest.raises(
        InputError, match="--label: checkpoints/r0004 was trained without labels; leave it out"
    ):
        generate(CHECKPOINT, [1], "cats", Path("x.png"))
