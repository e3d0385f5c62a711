import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from progan.dataset.toy import celeba, colours
from progan.dataset.toy.celeba import paint, portrait
from progan.dataset.toy.easel import Easel
from progan.dataset.toy.face import Face
from progan.dataset.toy.painting import paint_face

# fmt: off
CELEBA_ATTRIBUTES = [  # in CelebA's order
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips",
    "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin",
    "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open",
    "Mustache", "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline",
    "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat",
    "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
]
LANDMARK_COLUMNS = [
    "lefteye_x", "lefteye_y", "righteye_x", "righteye_y", "nose_x", "nose_y",
    "leftmouth_x", "leftmouth_y", "rightmouth_x", "rightmouth_y",
]
# fmt: on


@pytest.fixture(scope="module")
def painted(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("paint") / "toy-celeba"
    paint(out, images=20, seed=5, workers=1)
    return out


@pytest.fixture(scope="module")
def portraits():
    return [portrait(seed=11, index=index) for index in range(1, 51)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def rows(path: Path) -> tuple[list[str], dict[str, list[int]]]:
    count, columns, *lines = path.read_text().splitlines()
    assert int(count) == len(lines)
    return columns.split(), {line.split()[0]: [int(word) for word in line.split()[1:]] for line in lines}


def test_the_bytes_depend_on_the_seed_and_not_on_the_workers(painted, tmp_path):
    paint(tmp_path / "two", images=20, seed=5, workers=2)
    paint(tmp_path / "few", images=2, seed=5, workers=1)
    paint(tmp_path / "other", images=2, seed=6, workers=1)
    assert contents(tmp_path / "two") == contents(painted)
    few, other = (contents(tmp_path / name)["img_celeba/000002.jpg"] for name in ("few", "other"))
    assert few == contents(painted)["img_celeba/000002.jpg"] != other


def test_layout_is_celebas(painted):
    names = [f"{number:06d}.jpg" for number in range(1, 21)]
    assert sorted(path.name for path in painted.iterdir()) == [
        "img_celeba",
        "list_attr_celeba.txt",
        "list_landmarks_celeba.txt",
    ]
    assert sorted(path.name for path in (painted / "img_celeba").iterdir()) == names

    columns, landmarks = rows(painted / "list_landmarks_celeba.txt")
    assert columns == LANDMARK_COLUMNS
    assert list(landmarks) == names
    assert all(len(row) == 10 for row in landmarks.values())

    columns, attributes = rows(painted / "list_attr_celeba.txt")
    assert len(columns) >= 8
    assert columns == [name for name in CELEBA_ATTRIBUTES if name in columns]
    assert list(attributes) == names
    assert all(len(row) == len(columns) and set(row) <= {-1, 1} for row in attributes.values())


def test_lists_agree_with_the_pictures(painted):
    _, landmarks = rows(painted / "list_landmarks_celeba.txt")
    columns, attributes = rows(painted / "list_attr_celeba.txt")
    for index, name in enumerate(landmarks, start=1):
        image, points, traits = portrait(5, index)
        assert Image.open(painted / "img_celeba" / name).size == image.size
        assert landmarks[name] == points.ravel().tolist()
        assert dict(zip(columns, attributes[name], strict=True)) == {
            k: 1 if v else -1 for k, v in traits.items()
        }


def test_sizes_vary_and_faces_stay_inside(portraits):
    sizes = np.array([image.size for image, _, _ in portraits])
    assert len({tuple(size) for size in sizes}) > 30
    assert (sizes >= 120).all()
    assert (sizes <= 320).all()
    for image, landmarks, _ in portraits:
        assert (landmarks >= 0).all()
        assert (landmarks < image.size).all()


def frame(landmarks):
    """The middle between the eyes, and the vectors one eye distance to the right and down."""
    eyes = landmarks[:2] + 0.5
    x = eyes[1] - eyes[0]
    return eyes.mean(axis=0), x, np.array([-x[1], x[0]])


def colour_at(image, landmarks, point, offset=(0.0, 0.0)):
    """Mean RGB around `point` (pixels) moved by `offset` (eye distances, along the face's own axes)."""
    _, x, y = frame(landmarks)
    centre = np.asarray(point) + 0.5 + offset[0] * x + offset[1] * y
    radius = max(1.0, 0.06 * np.hypot(*x))
    box = (*(centre - radius), *(centre + radius))
    return np.asarray(image.resize((1, 1), Image.Resampling.BOX, box), dtype=float)[0, 0]


AROUND = [(dx, dy) for dx in (-0.25, 0, 0.25) for dy in (-0.25, 0, 0.25) if (dx, dy) != (0, 0)]


@pytest.mark.parametrize("which", [0, 1], ids=["lefteye", "righteye"])
def test_eye_landmarks_lie_on_the_dark_of_the_eyes(portraits, which):
    plain = [(image, points) for image, points, traits in portraits if not traits["Eyeglasses"]]

    def darkness(offset):
        return -np.mean([colour_at(image, points, points[which], offset).mean() for image, points in plain])

    assert darkness((0, 0)) > max(darkness(offset) for offset in AROUND) + 15


def test_mouth_landmarks_lie_on_the_corners_of_the_lips(portraits):
    painted = [(image, points) for image, points, traits in portraits if traits["Wearing_Lipstick"]]

    def redness(which, offset):
        colours = [colour_at(image, points, points[which], offset) for image, points in painted]
        return np.mean([red - (green + blue) / 2 for red, green, blue in colours])

    for which, inwards in ((3, 1), (4, -1)):
        cheek = redness(which, (-0.25 * inwards, 0))
        assert redness(which, (0.12 * inwards, 0.03)) > cheek + 15
        assert abs(redness(which, (-0.12 * inwards, 0)) - cheek) < 10


def test_nose_landmark_lies_on_the_tip_above_the_nostrils(portraits):
    def brightness(offset):
        return np.mean([colour_at(image, points, points[2], offset).mean() for image, points, _ in portraits])

    assert brightness((0, -0.08)) > brightness((0, 0.12)) + 15
    assert brightness((0, -0.08)) > max(brightness((-0.25, -0.08)), brightness((0.25, -0.08)))


def plain_face(**traits) -> Face:
    face = Face.draw(np.random.default_rng(3))
    bare = replace(face, beard="none", moustache=False, glasses="none", hat="none", earrings=False, turn=0.0)
    coloured = replace(bare, skin=colours.SKINS["fair"], hair_name="Brown", hair=colours.HAIRS["Brown"])
    calm = replace(coloured, smile=0.02, gape=0.0, lips=(200, 130, 120), lipstick=False, blush=False)
    return replace(replace(calm, style="short", fringe="back"), **traits)


@pytest.mark.parametrize(
    ("attribute", "traits", "top", "bottom"),
    [
        ("Wearing_Hat", {"hat": "beanie"}, -2.2, -0.1),
        ("Wearing_Hat", {"hat": "cap"}, -2.2, -0.1),
        ("Wearing_Hat", {"hat": "fedora"}, -2.2, -0.1),
        ("Eyeglasses", {"glasses": "round"}, -0.4, 0.5),
        ("Eyeglasses", {"glasses": "sun"}, -0.4, 0.5),
        ("Bald", {"style": "bald"}, -2.0, 0.4),
        ("Bangs", {"fringe": "bangs"}, -1.6, -0.2),
        ("Blond_Hair", {"hair_name": "Blond", "hair": colours.HAIRS["Blond"]}, -2.0, 0.4),
        ("Smiling", {"smile": 0.2}, 0.7, 1.6),
        ("Mouth_Slightly_Open", {"gape": 0.2}, 0.8, 1.8),
        ("Wearing_Lipstick", {"lipstick": True, "lips": colours.LIPSTICKS[0]}, 0.8, 1.5),
        ("Mustache", {"moustache": True}, 0.6, 1.4),
        ("No_Beard", {"beard": "full"}, 0.2, 2.2),
        ("Rosy_Cheeks", {"blush": True}, 0.2, 1.0),
        ("Wearing_Earrings", {"earrings": True}, 0.4, 0.9),
    ],
)
def test_an_attribute_changes_the_picture_where_it_should(attribute, traits, top, bottom):
    def picture(face):
        easel = Easel(
            Image.new("RGB", (300, 300), (128, 160, 128)), np.array([[60.0, 0, 150], [0, 60.0, 150]])
        )
        paint_face(easel, face)
        return np.asarray(easel.image, dtype=float)

    without, wearing = plain_face(), plain_face(**traits)
    assert without.attributes()[attribute] != wearing.attributes()[attribute]
    changed = (np.abs(picture(without) - picture(wearing)).max(axis=2) > 20).sum(axis=1)  # a row
    rows_of_it = slice(int(150 + 60 * top), int(150 + 60 * bottom))
    assert changed.sum() > 100
    assert changed[rows_of_it].sum() >= 0.99 * changed.sum()


def test_attributes_do_not_contradict_each_other():
    rng = np.random.default_rng(0)
    faces = [Face.draw(rng).attributes() for _ in range(800)]
    for face in faces:
        hair = sum(face[name] for name in ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"))
        assert hair <= (0 if face["Bald"] else 1)
        assert not (face["Bangs"] and (face["Bald"] or face["Wearing_Hat"]))
        assert not (face["Bald"] and face["Wearing_Hat"])
        assert not (face["Goatee"] and face["No_Beard"])
    for name in faces[0]:
        assert 0.03 < np.mean([face[name] for face in faces]) < 0.9, name
    classes = {(face["Blond_Hair"], face["Eyeglasses"], face["Wearing_Hat"]) for face in faces}
    assert len(classes) == 8


def test_an_interrupted_paint_keeps_the_old_folder(tmp_path, monkeypatch):
    out = tmp_path / "toy-celeba"
    paint(out, images=1, seed=1, workers=1)
    before, paint_one = contents(tmp_path), celeba._write_picture

    def interrupted(folder, seed, index):
        if index == 3:
            raise KeyboardInterrupt
        return paint_one(folder, seed, index)

    monkeypatch.setattr(celeba, "_write_picture", interrupted)
    with pytest.raises(KeyboardInterrupt):
        paint(out, images=5, seed=2, workers=1)
    assert contents(tmp_path) == before
    with pytest.raises(KeyboardInterrupt):
        paint(tmp_path / "new", images=5, seed=2, workers=1)
    assert contents(tmp_path) == before


def test_painting_needs_no_torch():
    program = "import sys, progan.dataset.toy.celeba; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
