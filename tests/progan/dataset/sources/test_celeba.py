import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from progan.dataset.build import build
from progan.dataset.sources.celeba import Celeba
from progan.dataset.sources.source import UnusableImage
from progan.errors import InputError

PNG, JPEG = "img_align_celeba_png", "img_align_celeba"
COUNT = 6


@pytest.fixture
def faces():
    return np.random.default_rng(8).integers(0, 256, (COUNT, 218, 178, 3), np.uint8)


@pytest.fixture
def celeba(tmp_path, faces):
    """Made-up pictures in CelebA's layout as PNGs, and attributes by the names of the JPEGs."""
    root = tmp_path / "celeba"
    (root / "Img" / PNG).mkdir(parents=True)
    (root / "Anno").mkdir()
    for number, face in enumerate(faces, start=1):
        Image.fromarray(face).save(root / "Img" / PNG / f"{number:06d}.png")
    rows = [
        f"{number + 1:06d}.jpg {-1 + 2 * (number % 2)} {-1 + 2 * (number // 2 % 2)}"
        for number in range(COUNT)
    ]
    (root / "Anno" / "list_attr_celeba.txt").write_text("\n".join([str(COUNT), "Bald Young", *rows, ""]))
    return root


def crops(faces):
    return faces[:, 57:185, 25:153]


def test_celeba(celeba, faces, tmp_path, config):
    wanted = config(
        celeba, source="celeba", resolution=128, lowest_resolution=64, label_attributes=("Bald", "Young")
    )
    source = Celeba.open(wanted, tmp_path)
    assert [item.name for item in source.items] == [f"Img/{PNG}/00000{number}.png" for number in range(1, 7)]
    assert source.classes == ("none", "Bald", "Young", "Bald+Young")
    assert [item.label for item in source.items] == [0, 1, 2, 3, 0, 1]
    for item, expected in zip(source.items, crops(faces), strict=True):
        np.testing.assert_array_equal(source.load(item).pixels, expected)


def test_celeba_built(tmp_path, config, assert_built):
    """Pictures that are black outside the crop."""
    folder = tmp_path / "raw" / JPEG
    folder.mkdir(parents=True)
    rough = np.random.default_rng(9).integers(0, 256, (24, 16, 16, 3), np.uint8)
    tops = rough.repeat(8, axis=1).repeat(8, axis=2)
    for number, top in enumerate(tops, start=1):
        face = Image.new("RGB", (178, 218))
        face.paste(Image.fromarray(top), (25, 57))
        face.save(folder / f"{number:06d}.jpg", "PNG", compress_level=1)
    rows = [f"{number:06d}.jpg {1 if number % 3 else -1}" for number in range(1, 25)]
    (tmp_path / "raw" / "list_attr_celeba.txt").write_text("\n".join(["24", "Bald", *rows]))
    wanted = config(tmp_path / "raw", source="celeba", label_attributes=("Bald",))
    manifest = assert_built(wanted, tops, [int(number % 3 > 0) for number in range(1, 25)])
    assert [(count.name, count.images) for count in manifest.classes] == [("none", 8), ("Bald", 16)]


def test_jpegs_are_decoded_as_they_are(celeba, faces, tmp_path, config):
    (celeba / "Img" / PNG).rename(celeba / "Img" / JPEG)
    exif = Image.Exif()
    exif[0x0112] = 3
    for file in (celeba / "Img" / JPEG).iterdir():
        Image.open(file).resize((178, 218)).save(file.with_suffix(".jpg"), quality=95, exif=exif)
        file.unlink()
    source = Celeba.open(config(celeba, source="celeba", label_attributes=("Bald",)), tmp_path)
    assert [item.label for item in source.items] == [0, 1, 0, 1, 0, 1]
    for item in source.items:
        with Image.open(celeba / item.name) as photo:
            expected = np.asarray(photo)[57:185, 25:153]
        np.testing.assert_array_equal(source.load(item).pixels, expected)


def test_the_pngs_are_preferred_to_the_jpegs(celeba, tmp_path, config):
    shutil.copytree(celeba / "Img" / PNG, celeba / "Img" / JPEG)
    shutil.copytree(celeba / "Img" / PNG, celeba / "Img" / "img_celeba")
    source = Celeba.open(config(celeba, source="celeba"), tmp_path)
    assert {item.name.split("/")[1] for item in source.items} == {PNG}
    assert len(source.items) == COUNT


@pytest.mark.parametrize("layout", ["the folder itself", "a tar of the folder"])
def test_the_folder_alone_suffices_without_labels(celeba, faces, tmp_path, config, layout):
    path = celeba / "Img" / PNG
    if layout == "a tar of the folder":
        path = tmp_path / "faces.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(celeba / "Img" / PNG, PNG)
    source = Celeba.open(config(path, source="celeba"), tmp_path / "scratch")
    assert (source.classes, source.items[0].label) == ((), None)
    np.testing.assert_array_equal(source.load(source.items[5]).pixels, crops(faces)[5])


def test_images_that_are_not_aligned_are_counted(celeba, tmp_path, config):
    Image.new("RGB", (218, 178)).save(celeba / "Img" / PNG / "000002.png")
    (celeba / "Img" / PNG / "000004.png").write_bytes(
        (celeba / "Img" / PNG / "000001.png").read_bytes()[:5000]
    )
    source = Celeba.open(config(celeba, source="celeba"), tmp_path)
    with pytest.raises(UnusableImage, match=r"218×178 px, not 178×218: not aligned\?"):
        source.load(source.items[1])
    manifest = build(config(celeba, source="celeba", max_skipped=0.4), tmp_path / "out", workers=1)
    assert (manifest.images, manifest.skipped) == (4, 2)


@pytest.mark.parametrize(
    ("changes", "spoil", "message"),
    [
        ({"resolution": 256}, None, "resolution: 256: celeba has images of 128 px; use 128 or less"),
        (
            {},
            lambda root: (root / "Img" / PNG).rename(root / "Img" / "faces"),
            "celeba: no photographs in a folder img_align_celeba_png or img_align_celeba; check dataset.path",
        ),
        (
            {"label_attributes": ("Bald",)},
            lambda root: (root / "Anno" / "list_attr_celeba.txt").unlink(),
            "list_attr_celeba.txt: no such file",
        ),
        (
            {"label_attributes": ("Bald",)},
            lambda root: (root / "Img" / PNG / "000001.png").rename(root / "Img" / PNG / "000009.png"),
            "list_attr_celeba.txt: no row for 000009.jpg; fetch the complete list, or remove the image",
        ),
    ],
)
def test_errors_of_the_whole_source_are_one_clear_line(celeba, tmp_path, config, changes, spoil, message):
    if spoil:
        spoil(celeba)
    with pytest.raises(InputError, match=message):
        Celeba.open(config(celeba, source="celeba", **changes), tmp_path)
