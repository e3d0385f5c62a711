"""CelebA-HQ from painted portraits: deltas are made here by the inverse of the source's steps."""

import base64
import bz2
import copy
import csv
import dataclasses
import hashlib
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cryptography.fernet import Fernet
from PIL import Image

from progan.dataset.build import build
from progan.dataset.pyramid import pyramid
from progan.dataset.reader import load_images
from progan.dataset.sources.align import align_face
from progan.dataset.sources.by_name import SOURCES, open_source
from progan.dataset.sources.celeba_hq import CelebaHq
from progan.dataset.sources.source import UnusableImage
from progan.dataset.toy.celeba import paint
from progan.errors import InputError

SIDE = 64
INDICES = (0, 999, 1000, 2500)  # of the portraits 4, 3, 2, 1: four images in three archives


def md5(image):
    return hashlib.md5(np.ascontiguousarray(image.transpose(2, 0, 1))).hexdigest()


def pack(values, photo, photo_name):
    """The inverse of the last steps: a file of a delta archive."""
    key = hashlib.pbkdf2_hmac("sha256", photo, photo_name.encode(), 100_000, 32)
    return Fernet(base64.urlsafe_b64encode(key)).encrypt(values)


class Release:
    """A user's folder, and the images that it should give, by index."""

    def __init__(self, root: Path, indices, side):
        self.root, self.side = root, side
        paint(root / "celeba", images=len(indices), seed=3, workers=1)
        self.rows, self.finals, self.aligned = {}, {}, {}
        lines = (root / "celeba" / "list_landmarks_celeba.txt").read_text().splitlines()[2:]
        self.points = {line.split()[0]: np.array(line.split()[1:], int).reshape(5, 2) for line in lines}
        (root / "hq").mkdir()
        for place, index in enumerate(indices):
            self.add(index, f"{len(indices) - place:06d}.jpg")
        self.write_list()

    def photo(self, name):
        return self.root / "celeba" / "img_celeba" / name

    def add(self, index, name):
        proc = align_face(Image.open(self.photo(name)), self.points[name], self.side).pixels
        noise = np.random.RandomState(index).randint(0, 256, (8, 8, 3), np.uint8)
        retouched = np.asarray(Image.fromarray(noise).resize((self.side, self.side)))
        final = (0.8 * proc + 0.2 * retouched).astype(np.uint8)
        self.aligned[index], self.finals[index] = proc, final
        self.rows[index] = [index, int(name[:6]) - 1, name, md5(proc), md5(final)]
        self.put(index, final - proc)

    def put(self, index, delta):
        photo = self.photo(self.rows[index][2])
        packed = bz2.compress(delta.transpose(2, 0, 1).tobytes())
        self.put_bytes(index, pack(packed, photo.read_bytes(), photo.name))

    def put_bytes(self, index, data):
        """Replace the member of this index, or add it."""
        path = self.archive(index)
        members = {}
        if path.exists():
            with zipfile.ZipFile(path) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
        members[f"delta{index:05d}.dat"] = data
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, member in members.items():
                archive.writestr(name, member)

    def archive(self, index):
        return self.root / "hq" / f"deltas{index // 1000 * 1000:05d}.zip"

    def write_list(self):
        lines = ["idx orig_idx orig_file proc_md5 final_md5"]
        lines += ["  ".join(map(str, row)) for row in self.rows.values()]
        (self.root / "hq" / "image_list.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return Release(tmp_path_factory.mktemp("release"), INDICES, SIDE)


@pytest.fixture
def release(pristine, tmp_path):
    """A copy of the release that a test may damage."""
    own = copy.deepcopy(pristine)
    own.root = tmp_path / "release"
    shutil.copytree(pristine.root, own.root)
    return own


@pytest.fixture
def parameters(config, monkeypatch):
    """Parameters for a release of images of SIDE pixels instead of 1024."""

    def small(values, scratch):
        return dataclasses.replace(CelebaHq.open(values, scratch), side=SIDE)

    monkeypatch.setitem(SOURCES, "celeba-hq", small)
    return lambda release, **changes: config(
        release.root, **{"source": "celeba-hq", "resolution": 64, **changes}
    )


def load(source, index):
    return source.load(next(item for item in source.items if int(item.name[:5]) == index))


def test_every_image_is_rebuilt_exactly(pristine, parameters, tmp_path):
    source = open_source(parameters(pristine, verify="strict"), tmp_path)
    source = pickle.loads(pickle.dumps(source))  # as to a worker process
    assert [item.name for item in source.items] == [
        "00000-000004.jpg",
        "00999-000003.jpg",
        "01000-000002.jpg",
        "02500-000001.jpg",
    ]
    for index in INDICES:
        picture = load(source, index)
        assert picture.check.result == "exact"
        assert not picture.enlarged
        np.testing.assert_array_equal(picture.pixels, pristine.finals[index])


@pytest.mark.slow
def test_at_full_size(tmp_path, config):
    release = Release(tmp_path, [7, 8], side=1024)
    manifest = build(
        config(
            tmp_path,
            source="celeba-hq",
            resolution=1024,
            lowest_resolution=512,
            verify="strict",
            seed=None,
        ),
        tmp_path / "out",
        workers=1,
    )
    assert manifest.checks == {"exact": 2}
    for resolution in (512, 1024):
        image = load_images(tmp_path / "out", resolution)[0][0].transpose(1, 2, 0)
        np.testing.assert_array_equal(image, pyramid(release.finals[7])[resolution])


def test_the_built_dataset(release, parameters, tmp_path):
    """Order, labels, pixels and checks, with an image of each kind."""
    make_close(release, 999)
    release.photo("000002.jpg").unlink()
    values = parameters(release, seed=5, max_skipped=0.25, label_attributes=("Blond_Hair", "Eyeglasses"))
    manifest = build(values, tmp_path / "out", workers=1)
    assert manifest.checks == {"close": 1, "exact": 2, "failed": 1}
    order = np.arange(4)
    np.random.RandomState(5).shuffle(order)
    used = [INDICES[place] for place in order if INDICES[place] != 1000]
    lines = (release.root / "celeba" / "list_attr_celeba.txt").read_text().splitlines()
    columns = [lines[1].split().index(name) for name in values.label_attributes]
    attributes = {line.split()[0]: line.split()[1:] for line in lines[2:]}
    images, labels = load_images(tmp_path / "out", SIDE)
    for image, label, index in zip(images, labels, used, strict=True):
        off = np.abs(image.transpose(1, 2, 0).astype(int) - release.finals[index]).max()
        assert off == 0 if index != 999 else 1 <= off <= 2
        blond, glasses = (attributes[release.rows[index][2]][column] == "1" for column in columns)
        assert label == blond + 2 * glasses
    with (tmp_path / "out" / "checks.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["image"][:5]) for row in rows] == [INDICES[place] for place in order]
    assert {int(row["image"][:5]): row["result"] for row in rows} == {
        0: "exact",
        999: "close",
        1000: "failed",
        2500: "exact",
    }


def make_close(release, index):
    """As if the authors had decoded the photograph a little differently: their delta is for that one."""
    noise = np.random.RandomState(1).randint(-2, 3, (SIDE, SIDE, 3))
    theirs = np.clip(release.aligned[index] + noise, 0, 255).astype(np.uint8)
    release.rows[index][3] = md5(theirs)
    release.put(index, release.finals[index] - theirs)
    release.write_list()


def test_another_decoder_is_close(release, parameters, tmp_path):
    make_close(release, 0)
    picture = load(open_source(parameters(release), tmp_path), 0)
    largest = np.abs(picture.pixels.astype(int) - release.aligned[0]).max()
    assert picture.check.result == "close"
    assert picture.check.detail.endswith(f"largest difference made by the delta {largest}")
    assert 1 <= np.abs(picture.pixels.astype(int) - release.finals[0]).max() <= 2
    with pytest.raises(UnusableImage, match="not exact: another JPEG decoder") as error:
        load(open_source(parameters(release, verify="strict"), tmp_path), 0)
    assert error.value.check.result == "close"


@pytest.mark.parametrize("shift", [-3, 3])
def test_a_close_image_does_not_wrap(release, parameters, tmp_path, shift):
    """A true image that reaches black and white, from a photograph that we decode 3 darker or brighter."""
    ours = release.aligned[0].astype(int)
    theirs = np.clip(ours - shift, 0, 255).astype(np.uint8)
    contrast = np.clip((ours - 128) * 3 // 2 + 128, 0, 255)
    final = np.where(np.abs(ours - 128) > 80, contrast, ours).astype(np.uint8)
    release.rows[0][3:] = [md5(theirs), md5(final)]
    release.put(0, final - theirs)
    release.write_list()
    plain = ours + final - theirs
    assert (plain < 0).any() if shift < 0 else (plain > 255).any()
    pixels = load(open_source(parameters(release), tmp_path), 0).pixels
    np.testing.assert_array_equal(pixels, np.clip(plain, 0, 255))


def test_an_exact_image_may_jump_from_black_to_white(release, parameters, tmp_path):
    final = 255 - release.aligned[0]
    final[::2] = np.where(release.aligned[0][::2] > 128, 1, 254)
    release.rows[0][4] = md5(final)
    release.put(0, final - release.aligned[0])
    release.write_list()
    np.testing.assert_array_equal(load(open_source(parameters(release), tmp_path), 0).pixels, final)


def reencode(release):
    photo = release.photo("000004.jpg")
    Image.open(photo).save(photo, quality=95)


def rename_delta(release):
    release.archive(0).unlink()
    release.put_bytes(999, b"")


def spoil_member(release):
    data = bytearray(release.archive(0).read_bytes())
    data[200] ^= 255
    release.archive(0).write_bytes(data)


def put_packed(values):
    def spoil(release):
        photo = release.photo("000004.jpg")
        release.put_bytes(0, pack(values, photo.read_bytes(), photo.name))

    return spoil


def other_delta(release):
    release.put(0, np.zeros((SIDE, SIDE, 3), np.uint8))


def cut_photo(release):
    """A partly decodable photograph has a delta too, encrypted for the damaged file."""
    photo = release.photo("000004.jpg")
    photo.write_bytes(photo.read_bytes()[:1500])
    release.put(0, np.zeros((SIDE, SIDE, 3), np.uint8))


RIGHT = bytes(3 * SIDE * SIDE)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda r: r.photo("000004.jpg").unlink(), "no photograph img_celeba/000004.jpg"),
        (lambda r: r.photo("000004.jpg").write_bytes(b""), "does not decrypt"),
        (reencode, "does not decrypt: the photograph is not CelebA's own JPEG"),
        (cut_photo, "unreadable: .*truncated"),
        (rename_delta, "deltas00000.zip: delta00000.dat is missing"),
        (spoil_member, "deltas00000.zip: delta00000.dat: unreadable: Bad CRC"),
        (lambda r: r.put_bytes(0, b"nothing"), "does not decrypt"),
        (lambda r: r.put_bytes(0, bytes(2**24 + 1)), "delta00000.dat is too large to be a delta"),
        (put_packed(RIGHT), "its delta is not bzip2, or cut off"),
        (put_packed(bz2.compress(RIGHT)[:-5]), "its delta is not bzip2, or cut off"),
        (put_packed(bz2.compress(RIGHT[1:])), "its delta has 12,287 values, not 12,288"),
        (put_packed(bz2.compress(RIGHT + b"1")), "its delta has more values, not 12,288"),
        (other_delta, "its delta gives another image than image_list.txt says"),
    ],
)
def test_images_that_cannot_be_rebuilt_are_skipped_with_a_reason(release, parameters, tmp_path, spoil, why):
    spoil(release)
    source = open_source(parameters(release), tmp_path)
    with pytest.raises(UnusableImage, match=why) as error:
        load(source, 0)
    assert error.value.check.result == "failed"
    assert error.value.check.detail == str(error.value)
    assert load(source, 2500).check.result == "exact"


def edit_list(old, new):
    def spoil(release):
        path = release.root / "hq" / "image_list.txt"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return spoil


def drop_archives(release):
    release.archive(0).unlink()
    release.archive(2500).unlink()


def damage_archive(release):
    release.archive(1000).write_bytes(release.archive(1000).read_bytes()[:-30])


def second_archive(release):
    (release.root / "deltas00000.zip").write_bytes(release.archive(0).read_bytes())


def no_photographs(release):
    for photo in (release.root / "celeba" / "img_celeba").iterdir():
        photo.rename(photo.with_name("9" + photo.name[1:]))


def drop_landmarks(release):
    path = release.root / "celeba" / "list_landmarks_celeba.txt"
    path.write_text(path.read_text().replace("000003.jpg", "000009.jpg"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            drop_archives,
            r"release: no deltas\{00000,02000\}.zip; fetch what is missing, or take its rows out",
        ),
        (damage_archive, "deltas01000.zip: damaged or not what its suffix says .*; fetch it again"),
        (second_archive, "both deltas00000.zip and hq/deltas00000.zip; remove one of them"),
        (no_photographs, "none of image_list.txt's photographs in a folder img_celeba; check dataset.path"),
        (drop_landmarks, "list_landmarks_celeba.txt: no row for 000003.jpg"),
        (
            lambda r: (r.root / "celeba" / "list_landmarks_celeba.txt").unlink(),
            "list_landmarks_celeba.txt: no such file; it comes with CelebA's",
        ),
        (
            lambda r: (r.root / "hq" / "image_list.txt").unlink(),
            "image_list.txt: no such file; it comes with CelebA-HQ's deltas",
        ),
        (edit_list("proc_md5", "md5"), "line 1: idx orig_idx orig_file proc_md5 final_md5 is expected"),
        (edit_list("  000003.jpg", ""), "image_list.txt: line 3: not a row of idx, orig_idx, .*; fetch it"),
        (edit_list("999  ", "-1  "), "line 3: not a row"),
        (edit_list("000003.jpg", "../3.jpg"), "line 3: not a row"),
        (edit_list("000003.jpg", "00000é.jpg"), "line 3: not a row"),
        (edit_list("999  ", "0  "), "line 3: a second row for 0 or 000003.jpg"),
        (edit_list("000003.jpg", "000004.jpg"), "line 3: a second row for 999 or 000004.jpg"),
    ],
)
def test_a_release_that_is_wrong_as_a_whole(release, parameters, tmp_path, spoil, message):
    spoil(release)
    with pytest.raises(InputError, match=message) as error:
        open_source(parameters(release), tmp_path)
    assert "\n" not in str(error.value)


def test_an_invalid_digest(release, parameters, tmp_path):
    release.rows[999][4] = "0" * 31
    release.write_list()
    with pytest.raises(InputError, match="line 3: not a row"):
        open_source(parameters(release), tmp_path)


def test_a_list_without_rows(release, parameters, tmp_path):
    release.rows.clear()
    release.write_list()
    with pytest.raises(InputError, match="image_list.txt: no rows; fetch it again"):
        open_source(parameters(release), tmp_path)


def test_an_archive_is_not_a_folder(parameters, config, tmp_path):
    (tmp_path / "all.zip").write_bytes(b"")
    with pytest.raises(InputError, match="all.zip: celeba-hq is read from a folder; unpack it"):
        CelebaHq.open(config(tmp_path / "all.zip", source="celeba-hq"), tmp_path)


def test_the_identity_changes_with_the_inputs(release, parameters, tmp_path):
    before = open_source(parameters(release), tmp_path).identity
    assert open_source(parameters(release), tmp_path).identity == before
    release.put(2500, np.zeros((SIDE, SIDE, 3), np.uint8))
    after = open_source(parameters(release), tmp_path).identity
    assert after != before
    release.rows[0][4] = "0" * 32
    release.write_list()
    assert open_source(parameters(release), tmp_path).identity not in (before, after)
