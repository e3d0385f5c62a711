"""Pictures by seed and class, as a sheet and as files."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.pictures.export import export
from components.pictures.generate import generate
from components.pictures.seeds import parse_seeds
from progan.errors import InputError
from tests.checkpoints import image_of, write_made_checkpoint


def tile(sheet, row, column, side=128):
    """One image of a sheet on which each pixel of a 16 px image is 8 wide."""
    top, left = row * (side + 2) + 2, column * (side + 2) + 2
    return np.asarray(sheet)[top : top + side : side // 16, left : left + side : side // 16]


def near(image, expected):
    """Equal except for values on the verge of rounding."""
    return np.abs(image.astype(int) - expected).max() <= 1


def test_a_sheet_shows_every_seed(plain):
    generate("checkpoints/r0016", [*range(70), 5], None, 1.0, Path("sheet.png"))
    sheet = Image.open("sheet.png")
    assert sheet.size == (9 * 130 + 2, 8 * 130 + 2)
    for number, seed in ((0, 0), (8, 8), (69, 69), (70, 5)):
        assert near(tile(sheet, *divmod(number, 9)), image_of(plain, seed))


@pytest.mark.parametrize(("name", "kind"), [("x.JPG", "JPEG"), ("x.webp", "WEBP"), ("x.tif", "TIFF")])
def test_a_sheet_in_another_format(plain, name, kind):
    generate("checkpoints/r0016", [0], None, 1.0, Path("sheet.png"))
    generate("checkpoints/r0016", [0], None, 1.0, Path(name))
    expected, sheet = np.asarray(Image.open("sheet.png")), Image.open(name)
    assert sheet.format == kind
    assert np.abs(np.asarray(sheet).astype(int) - expected).mean() < 6


def test_a_row_for_each_class_or_one_class_alone(conditional):
    generate("classes/r0016", [3, 4, 9], None, 1.0, Path("sheet.png"))
    sheet = Image.open("sheet.png")
    assert sheet.size == (3 * 130 + 2, 2 * 130 + 2)
    for row in range(2):
        for column, seed in enumerate([3, 4, 9]):
            assert near(tile(sheet, row, column), image_of(conditional, seed, row))
    generate("classes/r0016", [3, 9], "dogs", 1.0, Path("dogs"))
    assert sorted(path.name for path in Path("dogs").iterdir()) == [
        "dogs-seed0003.png",
        "dogs-seed0009.png",
    ]
    dog = np.asarray(Image.open("dogs/dogs-seed0009.png"))
    assert near(dog, image_of(conditional, 9, 1))
    generate("classes/r0016", [9], "1", 1.0, Path("one"))
    np.testing.assert_array_equal(np.asarray(Image.open("one/dogs-seed0009.png")), dog)


@pytest.mark.parametrize("onnx", [False, True])
def test_names_of_classes_never_lead_out_of_the_folder(small_config, tmp_path, monkeypatch, onnx):
    monkeypatch.chdir(tmp_path)
    names = ["T-shirt/top", "../../outside/x", "..", "", "t-shirt_top", "long" * 99, "a\0b", "Bag of tea"]
    network = dataclasses.replace(small_config.network, label_size=len(names))
    write_made_checkpoint(tmp_path / "deep/r0016", network, 16, names)
    address = "deep/r0016"
    if onnx:
        address = "deep/model.onnx"
        export("deep/r0016", Path(address))
    before = sorted(tmp_path.rglob("*"))
    generate(address, [0, 1], None, 1.0, Path("deep/out"))
    after = set(tmp_path.rglob("*")) - set(before)
    files = {path for path in after if path.is_file()}
    assert len(files) == 2 * len(names)
    assert {path.parent for path in files} == {tmp_path / "deep/out"} == after - files
    generate(address, [0], "Bag of tea", 1.0, Path("one"))
    assert [path.name for path in Path("one").iterdir()] == ["7-Bag of tea-seed0000.png"]


def test_truncation_makes_the_images_alike(plain):
    generate("checkpoints/r0016", [1, 2], None, 0.0, Path("alike"))
    generate("checkpoints/r0016", [1, 2], None, 0.5, Path("between"))
    first, second = (np.asarray(Image.open(f"alike/seed000{seed}.png")) for seed in (1, 2))
    np.testing.assert_array_equal(first, second)
    assert not near(np.asarray(Image.open("between/seed0001.png")), first)
    assert not near(np.asarray(Image.open("between/seed0001.png")), image_of(plain, 1))


@pytest.mark.parametrize("name", ["networks.safetensors", "checkpoint.json"])
def test_a_file_of_a_checkpoint_names_it(plain, name):
    generate(f"checkpoints/r0016/{name}", [7], None, 1.0, Path("out"))
    assert near(np.asarray(Image.open("out/seed0007.png")), image_of(plain, 7))


@pytest.mark.parametrize(
    ("text", "seeds"), [("7", [7]), ("0-3", [0, 1, 2, 3]), ("1,4,8-10", [1, 4, 8, 9, 10]), (" 2 , 3", [2, 3])]
)
def test_notations_of_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "a", "1-", "-1", "3-1", "1.5", "0-1000000", "0-99999999999", str(2**63)]
)
def test_invalid_seeds(text):
    with pytest.raises(InputError, match=r"--seeds: .* expected"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("address", "label", "truncation", "out", "message"),
    [
        ("classes/r0016", "birds", 1, "x.png", "label birds: expected one of cats, dogs"),
        ("classes/r0016", None, 2, "x.png", "truncation 2: from 0"),
        ("classes/r0016", None, 1, "classes", "classes: exists already; name a new folder"),
        ("classes/r0016", None, 1, "x.xbm", "x.xbm: cannot write mode RGB as XBM; name a .png file"),
        ("nowhere", None, 1, "x.png", "nowhere: no finished phase here; name its folder"),
        ("classes", None, 1, "x.png", "classes: no finished phase here"),
        ("nowhere.onnx", None, 1, "x.png", "nowhere.onnx: no such file; progan export writes one"),
        (
            "models:nonsense",
            None,
            1,
            "x.png",
            "models:nonsense: expected models:/NAME@alias",
        ),
    ],
)
def test_bad_input_is_one_clear_line(
    conditional, monkeypatch, tmp_path, address, label, truncation, out, message
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=message) as caught:
        generate(address, [1], label, truncation, Path(out))
    assert "\n" not in str(caught.value)
    assert not list(Path().glob("x.*"))


def test_damaged_weights_are_not_used(plain):
    weights = Path("checkpoints/r0016/networks.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError, match="checkpoints/r0016/networks.safetensors: missing or damaged"):
        generate("checkpoints/r0016", [1], None, 1.0, Path("x.png"))
