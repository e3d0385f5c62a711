import numpy as np
import pytest
from PIL import Image

from progan.dataset.build import build
from progan.dataset.contact_sheet import COLUMNS, GAP, MARGIN, TILE, contact_sheet
from progan.errors import InputError

COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}


def plain(root, side, **counts):
    """Pictures of one colour each, in a folder per colour."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (side, side), COLOURS[name]).save(root / name / f"{number}.png")
    return root


def tile(sheet, row, column):
    left, top = MARGIN + column * (TILE + GAP), row * (TILE + GAP) + GAP
    return np.asarray(sheet.crop((left, top, left + TILE, top + TILE)))


@pytest.mark.parametrize("side", [16, 128])
def test_every_class_has_its_row(tmp_path, config, side):
    root = plain(tmp_path / "p", side, red=12, lime=3, blue=1)
    build(config(root, resolution=side), tmp_path / "out", workers=1)
    sheet = contact_sheet(tmp_path / "out")
    levels = len([resolution for resolution in (4, 8, 16, 32, 64, 128) if resolution <= side])
    first = tile(sheet, 0, 0)[0, 0]
    assert all((tile(sheet, 0, column) == first).all() for column in range(levels))
    assert (tile(sheet, 0, levels) == 255).all()
    for row, (name, count) in enumerate({"blue": 1, "lime": 3, "red": COLUMNS}.items(), start=1):
        for column in range(COLUMNS):
            expected = COLOURS[name] if column < count else (255, 255, 255)
            assert (tile(sheet, row, column) == expected).all()
    names = np.asarray(sheet.crop((0, 0, MARGIN, sheet.height)).convert("L"))
    for row in range(4):  # each row has a name, whole, in the margin
        margin = names[row * (TILE + GAP) : (row + 1) * (TILE + GAP)]
        assert margin.min() < 100
        assert margin[:, -3:].min() == 255


def test_the_letters_of_class_names_are_drawn(tmp_path, config):
    """A font without them draws the same box for each."""
    root = plain(tmp_path / "p", 8, red=2, lime=2, blue=2)
    for colour, name in zip(COLOURS, "\u00e9\u00fc\u044f", strict=True):
        (root / colour).rename(root / name)
    build(config(root), tmp_path / "out", workers=1)
    sheet = contact_sheet(tmp_path / "out")
    tops = [row * (TILE + GAP) for row in (1, 2, 3)]
    names = {sheet.crop((0, top, MARGIN, top + TILE + GAP)).tobytes() for top in tops}
    assert len(names) == 3


def test_without_classes_images_come_in_order(tmp_path, config):
    build(config(plain(tmp_path / "p", 8, lime=COLUMNS + 2)), tmp_path / "out", workers=1)
    sheet = contact_sheet(tmp_path / "out")
    assert sheet.height == 3 * (TILE + GAP) + GAP
    assert (tile(sheet, 2, 1) == COLOURS["lime"]).all()
    assert (tile(sheet, 2, 2) == 255).all()


def test_grey_images(tmp_path, config, grey_dataset):
    grid = tile(contact_sheet(grey_dataset), 1, 0)
    assert (grid == grid[:, :, :1]).all()
    assert grid.std() > 10


def test_a_damaged_shard_is_one_clear_line(tmp_path, config):
    build(config(plain(tmp_path / "p", 8, red=2)), tmp_path / "out", workers=1)
    file = next((tmp_path / "out" / "r0004").iterdir())
    for damage in (file.read_bytes()[:-20], b"nothing"):
        file.write_bytes(damage)
        with pytest.raises(InputError, match=r"r0004/train-.*parquet: cannot be read \(.*\); run build"):
            contact_sheet(tmp_path / "out")
    file.unlink()
    with pytest.raises(InputError, match=r"r0004/train-.*parquet: cannot be read"):
        contact_sheet(tmp_path / "out")
