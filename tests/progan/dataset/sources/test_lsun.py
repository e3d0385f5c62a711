import hashlib
import io
import pickle

import lmdb
import numpy as np
import pytest
from PIL import Image

from progan.dataset.build import build
from progan.dataset.reader import load_images
from progan.dataset.sources import lsun
from progan.dataset.sources.folder import square
from progan.dataset.sources.lsun import Lsun, class_name
from progan.dataset.sources.source import Item, UnusableImage
from progan.errors import InputError

RNG = np.random.default_rng(9)


def webp(height, width):
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (height, width, 3), np.uint8)).save(buffer, "WEBP")
    return buffer.getvalue()


def decoded(data, resolution=8):
    return square(Image.open(io.BytesIO(data)).convert("RGB"), resolution).pixels


def write(folder, values):
    """An environment as LSUN's; returns its keys (a digest of each value, as text) in LMDB's order."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    keyed = {hashlib.sha1(value).hexdigest(): value for value in values}
    with lmdb.open(str(folder), map_size=2**26) as environment, environment.begin(write=True) as transaction:
        for key, value in keyed.items():
            transaction.put(key.encode(), value)
    return dict(sorted(keyed.items()))


@pytest.fixture(autouse=True)
def nothing_stays_open():
    yield
    lsun._environment.cache_clear()


@pytest.fixture
def open_them(tmp_path, config):
    return lambda root, **changes: Lsun.open(config(root, source="lsun", **changes), tmp_path)


def test_one_environment_has_no_classes(tmp_path, open_them):
    keyed = write(tmp_path / "bedroom_train_lmdb", [webp(11, 13), webp(16, 9), webp(5, 8)])
    source = open_them(tmp_path / "bedroom_train_lmdb")
    assert source.classes == ()
    assert list(source.items) == [Item(key, None) for key in keyed]
    for item, value in zip(source.items, keyed.values(), strict=True):
        picture = source.load(item)
        np.testing.assert_array_equal(picture.pixels, decoded(value))
        assert picture.enlarged == (min(Image.open(io.BytesIO(value)).size) < 8)


def test_several_environments_are_classes(tmp_path, open_them):
    keyed = {
        name: write(tmp_path / "l" / name, [webp(9, 9) for _ in range(count)])
        for name, count in {"cat": 1, "bedroom_val_lmdb": 3, "bedroom_train_lmdb": 2}.items()
    }
    (tmp_path / "l" / "cat.zip").write_bytes(b"what it came in")
    source = open_them(tmp_path / "l")
    assert source.classes == ("bedroom", "cat")
    expected = [
        Item(f"{name}/{key}", label)
        for name, label in (("bedroom_train_lmdb", 0), ("bedroom_val_lmdb", 0), ("cat", 1))
        for key in keyed[name]
    ]
    assert list(source.items) == expected
    assert [source.items[place] for place in range(len(source.items))] == expected
    with pytest.raises(IndexError):
        source.items[6]
    name, key = expected[3].name.split("/")
    np.testing.assert_array_equal(source.load(expected[3]).pixels, decoded(keyed[name][key]))


def test_two_sets_of_one_category_are_one_class(tmp_path, open_them):
    for name in ("bedroom_train_lmdb", "bedroom_val_lmdb"):
        write(tmp_path / name, [webp(8, 8)])
    source = open_them(tmp_path)
    assert source.classes == ()
    assert {item.label for item in source.items} == {None}


def test_class_names():
    folders = ["church_outdoor_train_lmdb", "tower_val_lmdb", "cat", "dog_lmdb", "test_lmdb", "train"]
    assert list(map(class_name, folders)) == ["church_outdoor", "tower", "cat", "dog", "test", "train"]


def test_keys_of_any_bytes(tmp_path, open_them):
    values = {b"a/b": webp(8, 8), b"\xff\xfe": webp(9, 9), "ü".encode(): webp(10, 10), b"end\0": webp(12, 12)}
    with lmdb.open(str(tmp_path / "l"), map_size=2**24) as environment, environment.begin(write=True) as txn:
        for key, value in values.items():
            txn.put(key, value)
    for root in (tmp_path / "l", tmp_path):
        source = open_them(root)
        for item, (_, value) in zip(source.items, sorted(values.items()), strict=True):
            np.testing.assert_array_equal(source.load(item).pixels, decoded(value))
        assert len({item.name for item in source.items}) == 4
        lsun._environment.cache_clear()


def test_the_workers_are_sent_hardly_more_than_the_keys(tmp_path, open_them):
    write(tmp_path / "l", [number.to_bytes(4) for number in range(3000)])
    source = open_them(tmp_path / "l")
    assert 40 * 3000 < len(pickle.dumps(source)) < 60 * 3000
    assert list(pickle.loads(pickle.dumps(source)).items) == list(source.items)


def test_broken_values_alone_are_unusable(tmp_path, open_them, monkeypatch):
    good = webp(8, 8)
    whys = {
        b"": "the file is empty",
        b"no image": "not an image",
        good[:90]: "unreadable|truncated|not an image",
    }
    keyed = write(tmp_path / "l", [good, *whys])
    source = open_them(tmp_path / "l")
    for item, value in zip(source.items, keyed.values(), strict=True):
        if value in whys:
            with pytest.raises(UnusableImage, match=whys[value]):
                source.load(item)
        else:
            source.load(item)
    with pytest.raises(UnusableImage, match="the file is empty"):
        source.load(Item("no such key", None))
    monkeypatch.setattr(lsun, "MAX_FILE_BYTES", 7)
    with pytest.raises(UnusableImage, match="the value is larger than"):
        source.load(source.items[list(keyed.values()).index(b"no image")])


def test_the_paper_takes_the_first_of_the_keys(tmp_path, config):
    keyed = write(tmp_path / "l", [webp(9, 12) for _ in range(9)])
    build(config(tmp_path / "l", source="lsun", seed=None, max_images=5), tmp_path / "out", workers=1)
    images, labels = load_images(tmp_path / "out", 8)
    expected = [decoded(value).transpose(2, 0, 1) for value in list(keyed.values())[:5]]
    np.testing.assert_array_equal(images, expected)
    assert labels is None


def test_categories_are_built(tmp_path, config):
    names = ("cat_train_lmdb", "dog_train_lmdb")
    keyed = [write(tmp_path / "l" / name, [webp(9, 12) for _ in range(30)]) for name in names]
    broken = write(tmp_path / "l" / names[1], [b"broken"])
    keyed[1] = dict(sorted({**keyed[1], **broken}.items()))
    wanted = config(tmp_path / "l", source="lsun", seed=4, max_skipped=0.1)
    manifest = build(wanted, tmp_path / "out", workers=1)
    tops = [(value, label) for label, values in enumerate(keyed) for value in values.values()]
    order = np.arange(61)
    np.random.RandomState(4).shuffle(order)
    kept = [tops[place] for place in order if tops[place][0] != b"broken"]
    images, labels = load_images(tmp_path / "out", 8)
    np.testing.assert_array_equal(images, [decoded(value).transpose(2, 0, 1) for value, _ in kept])
    assert labels.tolist() == [label for _, label in kept]
    assert [(count.name, count.images) for count in manifest.classes] == [("cat", 30), ("dog", 30)]
    assert [skip.name for skip in manifest.skipped_items] == [f"dog_train_lmdb/{key}" for key in broken]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: b"", "damaged, or not an LMDB environment"),
        (lambda data: b"something else" * 999, "damaged, or not an LMDB environment .*MDB_INVALID"),
        (lambda data: data[: len(data) // 2], "the file ends too early; fetch it again"),
        (lambda data: data[:-1], "the file ends too early; fetch it again"),
        (
            lambda data: data[:8192] + bytes(len(data) - 8192),
            "damaged, or not an LMDB environment .*; fetch it again",
        ),
    ],
)
def test_a_damaged_environment_is_one_clear_line(tmp_path, open_them, spoil, message):
    write(tmp_path / "l", [webp(30, 30) for _ in range(50)])
    data = tmp_path / "l" / "data.mdb"
    data.write_bytes(spoil(data.read_bytes()))
    with pytest.raises(InputError, match=rf"l/data\.mdb: {message}"):
        open_them(tmp_path / "l")


def test_folders_that_are_not_environments(tmp_path, open_them):
    for gone in (tmp_path / "gone", tmp_path / "bedroom_train_lmdb.zip"):
        with pytest.raises(
            InputError, match=f"{gone.name}: no such folder; unzip LSUN's archive and give the"
        ):
            open_them(gone)
        gone.write_bytes(b"PK")
    with pytest.raises(
        InputError, match=r"no data\.mdb, nor folders that hold one; unzip LSUN's archives there"
    ):
        open_them(tmp_path)
    write(tmp_path / "l", [])
    with pytest.raises(InputError, match=r"l/data\.mdb: is empty; fetch it again"):
        open_them(tmp_path / "l")
    with pytest.raises(InputError, match="label_attributes: lsun has no attributes"):
        open_them(tmp_path / "l", label_attributes=("Smiling",))


def test_nothing_is_written_beside_the_data(tmp_path, open_them):
    write(tmp_path / "l", [webp(8, 8)])
    (tmp_path / "l" / "lock.mdb").unlink()
    source = open_them(tmp_path / "l")
    source.load(source.items[0])
    assert [file.name for file in (tmp_path / "l").iterdir()] == ["data.mdb"]


def test_the_identity_changes_with_the_data(tmp_path, open_them):
    write(tmp_path / "l", [webp(8, 8)])
    before = open_them(tmp_path / "l").identity
    assert open_them(tmp_path / "l").identity == before
    lsun._environment.cache_clear()
    write(tmp_path / "l", [webp(8, 8)])
    assert open_them(tmp_path / "l").identity != before
