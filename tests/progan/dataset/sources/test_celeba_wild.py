import tarfile

import numpy as np
import pytest
from PIL import Image

from progan.dataset.sources.align import align_face
from progan.dataset.sources.celeba_lists import combination_names
from progan.dataset.sources.celeba_wild import CelebaWild
from progan.errors import InputError

POINTS = "30 40 70 40 50 60 36 80 64 80"


@pytest.fixture
def celeba(tmp_path):
    """Three made-up faces in CelebA's layout, with the folders of the official archives."""
    root = tmp_path / "celeba"
    (root / "Img" / "img_celeba").mkdir(parents=True)
    (root / "Anno").mkdir()
    rng = np.random.default_rng(4)
    for number in (1, 2, 3):
        image = Image.fromarray(rng.integers(0, 256, (12, 10, 3), np.uint8)).resize((100, 120))
        image.save(root / "Img" / "img_celeba" / f"{number:06d}.jpg")
    rows = [f"{number:06d}.jpg {POINTS}" for number in (1, 2, 3, 4)]
    (root / "Anno" / "list_landmarks_celeba.txt").write_text("\n".join(["4", "lefteye_x …", *rows, ""]))
    attributes = [
        "3",
        "Bald Smiling Young ",
        "000001.jpg -1  1 -1",
        "000002.jpg  1 -1  1",
        "000003.jpg -1 -1 -1",
    ]
    (root / "Anno" / "list_attr_celeba.txt").write_text("\n".join(attributes))
    return root


def test_faces_are_aligned_by_their_rows(celeba, tmp_path, config):
    source = CelebaWild.open(config(celeba, source="celeba-wild", resolution=32), tmp_path)
    assert source.classes == ()
    assert [item.name for item in source.items] == [
        f"Img/img_celeba/00000{number}.jpg" for number in (1, 2, 3)
    ]
    photo = Image.open(celeba / source.items[0].name)
    expected = align_face(photo, np.array(POINTS.split(), int).reshape(5, 2), 32)
    np.testing.assert_array_equal(source.load(source.items[0]).pixels, expected.pixels)


def test_attributes_make_a_class_of_every_combination(celeba, tmp_path, config):
    wanted = config(celeba, source="celeba-wild", label_attributes=("Smiling", "Bald"))
    source = CelebaWild.open(wanted, tmp_path)
    assert source.classes == ("none", "Smiling", "Bald", "Smiling+Bald")
    assert [item.label for item in source.items] == [1, 2, 0]


def test_the_first_attribute_is_the_lowest_bit():
    names = combination_names(("a", "b", "c"))
    assert names == ("none", "a", "b", "a+b", "c", "a+c", "b+c", "a+b+c")
    for label, name in enumerate(names[1:], start=1):
        assert sum(2 ** "abc".index(attribute) for attribute in name.split("+")) == label


def test_a_tar_suffices(celeba, tmp_path, config):
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        archive.add(celeba, "celeba")
    packed = CelebaWild.open(config(tmp_path / "c.tar.gz", source="celeba-wild"), tmp_path / "scratch")
    plain = CelebaWild.open(config(celeba, source="celeba-wild"), tmp_path)
    for one, other in zip(packed.items, plain.items, strict=True):
        np.testing.assert_array_equal(packed.load(one).pixels, plain.load(other).pixels)


def test_exif_does_not_turn_what_the_landmarks_describe(celeba, tmp_path, config):
    source = CelebaWild.open(config(celeba, source="celeba-wild"), tmp_path)
    before = source.load(source.items[0]).pixels
    photo, exif = celeba / source.items[0].name, Image.Exif()
    exif[0x0112] = 3
    image = Image.open(photo)
    image.save(photo, quality="keep", exif=exif)
    turned = CelebaWild.open(config(celeba, source="celeba-wild"), tmp_path)
    assert np.abs(turned.load(turned.items[0]).pixels.astype(int) - before).max() <= 2


def edit(file, old, new):
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda a: (a / "list_landmarks_celeba.txt").unlink(),
            "list_landmarks_celeba.txt: no such file; it comes",
        ),
        (lambda a: (a / "list_attr_celeba.txt").unlink(), "list_attr_celeba.txt: no such file; it comes"),
        (
            lambda a: edit(a / "list_landmarks_celeba.txt", "000002", "000009"),
            "no row for 000002.jpg; fetch the",
        ),
        (
            lambda a: edit(a / "list_attr_celeba.txt", "000003", "000009"),
            "list_attr_celeba.txt: no row for 000003",
        ),
        (
            lambda a: edit(a / "list_attr_celeba.txt", "Smiling", "Smile"),
            "Smiling: not in .*did you mean Smile?",
        ),
        (
            lambda a: edit(a / "list_landmarks_celeba.txt", "1.jpg 30", "1.jpg x"),
            "line 3: whole numbers are exp",
        ),
        (
            lambda a: edit(a / "list_landmarks_celeba.txt", "1.jpg 30", "1.jpg"),
            "line 3: 9 values, not 10; fetch",
        ),
        (
            lambda a: (a / "list_landmarks_celeba.txt").write_text(""),
            "a count, a line of column names and rows",
        ),
        (
            lambda a: (a.parent / "Img" / "img_celeba").rename(a / "faces"),
            "no photographs in a folder img_celeba",
        ),
    ],
)
def test_a_spoilt_layout_is_one_clear_line(celeba, tmp_path, config, spoil, message):
    spoil(celeba / "Anno")
    with pytest.raises(InputError, match=message):
        CelebaWild.open(config(celeba, source="celeba-wild", label_attributes=("Smiling",)), tmp_path)


@pytest.mark.parametrize("attributes", [("Bald", "Bald"), tuple("abcdefghijk")])
def test_attributes_repeated_or_too_many(celeba, tmp_path, config, attributes):
    with pytest.raises(InputError, match="label_attributes: at most 10 attributes, each once"):
        CelebaWild.open(config(celeba, source="celeba-wild", label_attributes=attributes), tmp_path)
