import os

import numpy as np
import pytest
from PIL import Image

from progan.dataset.sources.by_name import open_source
from progan.dataset.sources.folder import Folder
from progan.errors import InputError


def test_the_class_is_the_folder_that_holds_the_file(tmp_path, config, photos):
    root = photos(
        tmp_path / "p", ["train/hat/1", "train/dress/2", "test/dress/1", ".cache/x/1", "__MACOSX/y/1"]
    )
    (root / "train" / "notes.txt").write_text("no photograph")
    source = Folder.open(config(root), tmp_path)
    assert source.classes == ("dress", "hat")
    assert [(item.name, item.label) for item in source.items] == [
        ("test/dress/1.png", 0),
        ("train/dress/2.png", 0),
        ("train/hat/1.png", 1),
    ]


def test_names_of_classes_are_composed_and_tell_bytes_apart(tmp_path, config, photos):
    root = photos(tmp_path / "p", ["cafe\u0301/1", "caf\u00e9/2", "a/1", "b/1"])
    for name, other in (("a", b"caf\xe9"), ("b", b"caf\xe8")):
        (root / name).rename(os.fsdecode(bytes(root) + b"/" + other))
    source = Folder.open(config(root), tmp_path)
    assert source.classes == ("caf\\xe8", "caf\\xe9", "caf\u00e9")
    assert sorted(item.label for item in source.items) == [0, 1, 2, 2]


def test_what_is_no_photograph_is_named(tmp_path, config, photos):
    root = photos(tmp_path / "p", ["1", "2"])
    for name in ("a.heix", "notes/b.txt", ".DS_Store", ".cache/c.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"")
    for suffix in ("jfif", "JPE", "bmp", "tif"):
        (root / "1.png").with_suffix(f".{suffix}").write_bytes((root / "1.png").read_bytes())
    source = Folder.open(config(root), tmp_path)
    assert len(source.items) == 6
    assert source.passed_over == ("a.heix", "notes/b.txt")


@pytest.mark.parametrize("names", [["1", "2"], ["all/of/them/1", "all/of/them/2"]])
def test_one_folder_makes_no_labels(tmp_path, config, photos, names):
    source = Folder.open(config(photos(tmp_path / "p", names)), tmp_path)
    assert source.classes == ()
    assert [item.label for item in source.items] == [None, None]


def test_the_class_of_a_photograph_at_the_top_is_the_folder_given(tmp_path, config, photos):
    source = Folder.open(config(photos(tmp_path / "cats", ["1", "dogs/2"])), tmp_path)
    assert [(item.name, source.classes[item.label]) for item in source.items] == [
        ("1.png", "cats"),
        ("dogs/2.png", "dogs"),
    ]


@pytest.mark.parametrize(("width", "height"), [(40, 17), (17, 40), (16, 16), (5, 7)])
def test_the_centre_square_is_resized(tmp_path, config, width, height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "1.png")
    source = Folder.open(config(tmp_path), tmp_path)
    picture = source.load(source.items[0])
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    crop = Image.fromarray(pixels[top : top + side, left : left + side])
    np.testing.assert_array_equal(picture.pixels, np.asarray(crop.resize((8, 8), Image.Resampling.LANCZOS)))
    assert picture.enlarged == (side < 8)


def test_invalid_sources(tmp_path, config, photos):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no photographs \(.*\.jpg.*\) in it; check dataset.path"):
        Folder.open(config(tmp_path / "empty"), tmp_path)
    root = photos(tmp_path / "p", ["1"])
    with pytest.raises(InputError, match=r"label_attributes: folder has no attributes; use \[\]"):
        Folder.open(config(root, label_attributes=("Smiling",)), tmp_path)
    with pytest.raises(InputError, match=r"dataset.source: foldr: no such source; did you mean folder\?"):
        open_source(config(root, source="foldr"), tmp_path)
    with pytest.raises(InputError, match=r"dataset.source: \?\?: no such source; known here: .*folder"):
        open_source(config(root, source="??"), tmp_path)
