import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from progan.dataset.sources.archives import open_files
from progan.dataset.sources.parquet import Shard, open_tables
from progan.dataset.sources.photo import decode_photo
from progan.errors import InputError

RNG = np.random.default_rng(3)
IMAGES = [RNG.bytes(size) for size in (5, 90_000, 1, 0, 70_000, 300, 40, 2_000, 9, 33, 12)]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CLASSES = {"label": {"names": ["female", "male"], "_type": "ClassLabel"}}


def table(images, kind=STRUCT, features=None, **columns):
    """Images as structs or plain binaries; the metadata as `datasets` writes it."""
    structs = [{"bytes": image, "path": f"{row}.jpg"} for row, image in enumerate(images)]
    columns = {"image": pa.array(structs if kind is STRUCT else images, kind), **columns}
    metadata = {"huggingface": json.dumps({"info": {"features": features or {}}})}
    return pa.table(columns).replace_schema_metadata(metadata)


def write(root, name, rows, **options):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, root / name, **options)


@pytest.fixture
def unpack(tmp_path, config):
    """The images (by name) and classes of the Parquet files in a folder or archive."""

    def open_them(root):
        scratch = tmp_path / "scratch"
        images, classes = open_tables(config(root), open_files(root, scratch), scratch)
        return {name: images.read(name) for name in images.sizes}, classes

    return open_them


@pytest.mark.parametrize("kind", [STRUCT, pa.large_binary(), pa.binary_view()])
@pytest.mark.parametrize(
    "options",
    [
        {"row_group_size": 3},
        {"write_batch_size": 2, "data_page_size": 1000},
        {"compression": "zstd", "use_dictionary": False, "data_page_version": "2.0"},
    ],
)
def test_every_image_comes_back_in_the_order_of_files_and_rows(tmp_path, unpack, kind, options):
    write(tmp_path / "p", "data/train-00001-of-00002.parquet", table(IMAGES[7:], kind), **options)
    write(tmp_path / "p", "data/train-00000-of-00002.parquet", table(IMAGES[:7], kind), **options)
    write(tmp_path / "p", ".cache/old.parquet", table(IMAGES[:1], kind))
    (tmp_path / "p" / "README.md").write_text("about")
    images, classes = unpack(tmp_path / "p")
    first = [f"data/train-00000-of-00002.parquet#{row}" for row in range(7)]
    assert list(images) == first + [f"data/train-00001-of-00002.parquet#{row}" for row in range(4)]
    assert list(images.values()) == IMAGES
    assert (classes.names, classes.labels) == ((), None)


def test_a_row_without_image_is_an_empty_one(tmp_path, unpack):
    holes = pa.array([None, {"bytes": b"abc", "path": None}, {"bytes": None, "path": None}], STRUCT)
    write(tmp_path / "p", "a.parquet", pa.table({"image": holes}))
    write(tmp_path / "p", "b.parquet", pa.table({"image": pa.array([None, b"d"], pa.binary())}))
    assert list(unpack(tmp_path / "p")[0].values()) == [b"", b"abc", b"", b"", b"d"]


@pytest.mark.parametrize("kind", [pa.binary(), STRUCT])
def test_images_in_a_dictionary_in_a_column_img(tmp_path, unpack, kind):
    values = pa.array([b"one", b"two"])
    column = pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 1]), values)
    if kind is STRUCT:
        column = pa.StructArray.from_arrays([column, pa.array(["x"] * 4)], ["bytes", "path"])
        column = column.take(pa.array([0, 1, 3]))
    write(tmp_path / "p", "a.parquet", pa.table({"img": column}))
    expected = [b"two", b"one", b"", b"two"] if kind is not STRUCT else [b"two", b"one", b"two"]
    assert list(unpack(tmp_path / "p")[0].values()) == expected


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_that_datasets_saved(tmp_path, unpack, packed):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"img": datasets.Image(), "fine_label": datasets.ClassLabel(names=["female", "male"])}
    )
    noise = list(RNG.integers(0, 256, (5, 8, 8, 3), np.uint8))
    whole = datasets.Dataset.from_dict({"img": noise, "fine_label": [1, 0, 0, 1, 1]}, features)
    parts = datasets.DatasetDict({"test": whole.select([4]), "train": whole.select(range(4))})
    parts.save_to_disk(tmp_path / "p", num_shards={"test": 1, "train": 2})
    root = tmp_path / "p"
    if packed:
        root = Path(shutil.make_archive(str(root), "zip", root))
    images, classes = unpack(root)
    assert [name.split("/")[0] for name in images] == ["test", *["train"] * 4]
    pictures = [np.asarray(decode_photo(image)) for image in images.values()]
    np.testing.assert_array_equal(pictures, [noise[place] for place in (4, 0, 1, 2, 3)])
    assert classes.names == ("female", "male")
    assert [classes.label(name) for name in images] == [1, 1, 0, 0, 1]
    cut_off = tmp_path / "p" / "train" / "data-00001-of-00002.arrow"
    for length in (-8, -1, 100, 0):
        cut_off.write_bytes(cut_off.read_bytes()[:length])
        with pytest.raises(InputError, match=r"00001-of-00002\.arrow: damaged, or no table of its suffix"):
            unpack(tmp_path / "p")


def test_an_archive_suffices(tmp_path, unpack):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name, images in (("c", IMAGES[8:]), ("a", IMAGES[:4]), ("b", IMAGES[4:8])):
            write(tmp_path / "p", f"{name}.parquet", table(images, label=pa.array(range(len(images)))))
            archive.write(tmp_path / "p" / f"{name}.parquet", f"{name}.parquet")
    images, classes = unpack(tmp_path / "p.zip")
    assert list(images.values()) == IMAGES
    assert (images, classes) == unpack(tmp_path / "p")


def test_what_was_unpacked_is_used_again_until_the_input_changes(tmp_path, unpack):
    write(tmp_path / "p", "a.parquet", table(IMAGES))
    unpack(tmp_path / "p")
    (flat,) = (tmp_path / "scratch").rglob("images")
    flat.write_bytes(bytes(flat.stat().st_size))
    assert list(unpack(tmp_path / "p")[0].values()) == [bytes(len(image)) for image in IMAGES]
    write(tmp_path / "p", "a.parquet", table(IMAGES[::-1]))
    os.utime(tmp_path / "p" / "a.parquet", ns=(1, 1))
    assert list(unpack(tmp_path / "p")[0].values()) == IMAGES[::-1]


def test_little_of_a_large_row_group_is_in_memory_at_a_time(tmp_path):
    images = [RNG.bytes(2**20) for _ in range(64)]
    write(tmp_path, "a.parquet", table(images), write_batch_size=1)
    before, most = pa.total_allocated_bytes(), 0
    for _ in Shard.open(open_files(tmp_path, tmp_path), "a.parquet", "").images():
        most = max(most, pa.total_allocated_bytes() - before)
    assert 0 < most < 40 * 2**20


NAMED = {"label": pa.array([1, 0, 1])}
TEXT = {"label": pa.array(["old", "young", "old"])}


@pytest.mark.parametrize(
    ("columns", "features", "names", "labels"),
    [
        (NAMED, CLASSES, ("female", "male"), [1, 0, 1]),
        ({"label": pa.array([1, 1, 1], pa.int8())}, CLASSES, ("female", "male"), [1, 1, 1]),
        (NAMED, {"label": {"dtype": "int64", "_type": "Value"}}, ("0", "1"), [1, 0, 1]),
        ({"label": pa.array([7, -1, 12])}, None, ("-1", "7", "12"), [1, 0, 2]),
        (TEXT, None, ("old", "young"), [0, 1, 0]),
        ({"label": TEXT["label"].dictionary_encode()}, None, ("old", "young"), [0, 1, 0]),
        ({"labels": TEXT["label"].cast(pa.string_view())}, None, ("old", "young"), [0, 1, 0]),
        ({"label": pa.array(["cafe\u0301", "a", "caf\u00e9"])}, None, ("a", "caf\u00e9"), [1, 0, 1]),
        ({"label": pa.array([5, 5, 5])}, None, (), None),
        ({"label": pa.array([-1, -1, -1])}, CLASSES, (), None),
        ({"label": pa.array([None, None, None], pa.string())}, None, (), None),
        ({"caption": pa.array(["a", "b", "c"])}, None, (), None),
    ],
)
def test_labels(tmp_path, unpack, columns, features, names, labels):
    write(tmp_path / "p", "a.parquet", table(IMAGES[:3], features=features, **columns))
    images, classes = unpack(tmp_path / "p")
    assert classes.names == names
    assert (None if labels is None else [classes.label(name) for name in images]) == labels


def test_metadata_of_other_kinds_gives_no_names(tmp_path, unpack):
    for metadata in (None, {"huggingface": "no JSON"}, {"huggingface": "[]"}, {"huggingface": '{"info": 1}'}):
        rows = table(IMAGES[:3], **NAMED).replace_schema_metadata(metadata)
        write(tmp_path / "p", "a.parquet", rows)
        assert unpack(tmp_path / "p")[1].names == ("0", "1")


def test_labels_of_several_files_are_one_set(tmp_path, unpack):
    write(tmp_path / "p", "a.parquet", table(IMAGES[:2], label=pa.array(["y", "z"])))
    write(tmp_path / "p", "b.parquet", table(IMAGES[:2], label=pa.array(["z", "x"])))
    images, classes = unpack(tmp_path / "p")
    assert classes.names == ("x", "y", "z")
    assert [classes.label(name) for name in images] == [1, 2, 2, 0]


@pytest.mark.parametrize(
    ("columns", "features", "message"),
    [
        ({"label": pa.array([0, 1, 2])}, CLASSES, r"p/b\.parquet#2: its label is 2, none of the 2 classes; "),
        ({"label": pa.array([0, -1, 1])}, CLASSES, r"b\.parquet#1: its label is -1, none of the 2 classes"),
        ({"label": pa.array([0, None, 1])}, CLASSES, r"b\.parquet#1: its label is None, none of the"),
        (
            {"label": pa.array([0.5, 0, 1])},
            None,
            r"b\.parquet: column label is double; whole numbers",
        ),
        (
            {"label": pa.array([[1], [], [0]])},
            None,
            r"b\.parquet: column label is list.*; whole numbers",
        ),
        ({}, None, r"p/b\.parquet: its labels are not like those of .*p/a\.parquet; remove one"),
        (NAMED, None, r"p/b\.parquet: its labels are not like those of .*p/a\.parquet; remove one"),
        (TEXT, None, r"p/b\.parquet: its labels are not like those of .*p/a\.parquet; remove one"),
    ],
)
def test_labels_that_make_no_classes(tmp_path, unpack, columns, features, message):
    write(tmp_path / "p", "a.parquet", table(IMAGES[:3], features=CLASSES, **NAMED))
    write(tmp_path / "p", "b.parquet", table(IMAGES[:3], features=features, **columns))
    with pytest.raises(InputError, match=message):
        unpack(tmp_path / "p")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"pic": [b"a"], "text": ["b"]}, r"p/a\.parquet: no column image, only pic, text; rename the one of"),
        ({"image": [1]}, r"p/a\.parquet: column image is int64; encoded images \(JPEG, PNG …\) are expected"),
        ({"image": [{"path": "1.png"}]}, r"a\.parquet: column image is struct<path: string>; encoded images"),
        ({"image": [{"bytes": [1, 2]}]}, r"a\.parquet: column image is list<.*; encoded images"),
        (
            {"image": pa.array([{"bytes": None, "path": "far/1.png"}], STRUCT)},
            r"p/a\.parquet: names the file far/1\.png but does not hold it; save the data set again",
        ),
        ({"image": pa.array([], pa.binary())}, r"p: no rows in its tables; fetch them again"),
    ],
)
def test_tables_that_hold_no_images(tmp_path, unpack, columns, message):
    write(tmp_path / "p", "a.parquet", pa.table(columns))
    with pytest.raises(InputError, match=message):
        unpack(tmp_path / "p")
    assert not list((tmp_path / "scratch").glob("*"))


def cut(data):
    return data[: len(data) // 2]


def garbage_in_a_page(data):
    return data[:200] + RNG.bytes(2000) + data[2200:]


@pytest.mark.parametrize("spoil", [cut, garbage_in_a_page, lambda data: b"", lambda data: b"PAR1" * 99])
def test_a_damaged_file_is_one_clear_line(tmp_path, unpack, spoil):
    rows = table([bytes(9000)] * 9)
    for name in ("a", "b"):
        options = {"write_page_checksum": True, "use_dictionary": False, "compression": "none"}
        write(tmp_path / "p", f"{name}.parquet", rows, **options)
    spoilt = tmp_path / "p" / "b.parquet"
    assert spoilt.stat().st_size > 2500
    spoilt.write_bytes(spoil(spoilt.read_bytes()))
    with pytest.raises(
        InputError, match=r"b\.parquet: damaged, or no table of its suffix \(.*\); fetch it ag"
    ) as seen:
        unpack(tmp_path / "p")
    assert "\n" not in str(seen.value)
    assert not list((tmp_path / "scratch").glob("*"))


def test_invalid_text(tmp_path, unpack):
    rows = table(IMAGES[:2], label=pa.array(["cat", "dog"]))
    write(tmp_path / "p", "a.parquet", rows, compression="none", use_dictionary=False, write_statistics=False)
    file = tmp_path / "p" / "a.parquet"
    file.write_bytes(file.read_bytes().replace(b"dog", b"\xff\xfe\xfd"))
    with pytest.raises(
        InputError, match=r"a\.parquet: damaged, or no table of its suffix \('utf-8' codec can't decode"
    ):
        unpack(tmp_path / "p")


def test_files_that_datasets_writes(tmp_path, unpack):
    datasets = pytest.importorskip("datasets")
    pictures = [RNG.integers(0, 256, (8, 8, 3), np.uint8) for _ in range(4)]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["female", "male"])}
    )
    rows = {"image": pictures, "label": [1, 0, 0, 1]}
    (tmp_path / "p").mkdir()
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "p" / "a.parquet")
    images, classes = unpack(tmp_path / "p")
    for image, picture in zip(images.values(), pictures, strict=True):
        np.testing.assert_array_equal(np.asarray(decode_photo(image)), picture)
    assert classes.names == ("female", "male")
    assert [classes.label(name) for name in images] == [1, 0, 0, 1]
