"""A built dataset is plain Parquet: other tools read the pictures and their classes."""

import io

import numpy as np
import pytest
from PIL import Image

from progan.dataset.build import build
from progan.dataset.reader import load_images

NAMES = [f"{kind}/{number}" for kind in ("cat", "dog", "eel") for number in range(5)]


@pytest.fixture
def built(tmp_path, config, photos, monkeypatch):
    """Fifteen images of three classes in four shards: the folder, images [N,H,W,3] and labels at 8 px."""
    monkeypatch.setattr("progan.dataset.build.images_per_shard", lambda resolution: 4)
    build(config(photos(tmp_path / "p", NAMES, side=16), resolution=16), tmp_path / "out", workers=1)
    images, labels = load_images(tmp_path / "out", 8)
    return tmp_path / "out", images.transpose(0, 2, 3, 1), labels


def decoded(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_hugging_face_datasets_shows_pictures_and_class_names(tmp_path, built):
    datasets = pytest.importorskip("datasets")
    root, images, labels = built
    files = str(root / "r0008" / "*.parquet")
    loaded = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded.features["label"].names == ["cat", "dog", "eel"]
    assert all(isinstance(picture, Image.Image) for picture in loaded["image"])
    np.testing.assert_array_equal(np.stack([np.asarray(picture) for picture in loaded["image"]]), images)
    np.testing.assert_array_equal(loaded["label"], labels)
    assert loaded.features["label"].int2str(int(labels[3])) == ["cat", "dog", "eel"][labels[3]]


def test_duckdb_reads_it(built):
    duckdb = pytest.importorskip("duckdb")
    root, images, labels = built
    shards = str(root / "r0008" / "*.parquet")
    rows = duckdb.sql(f"select image.bytes, image.path, label from read_parquet('{shards}')").fetchall()
    np.testing.assert_array_equal([decoded(png) for png, _, _ in rows], images)
    assert [label for _, _, label in rows] == labels.tolist()
    assert sorted(path for _, path, _ in rows) == sorted(f"{name}.png" for name in NAMES)
    counts = duckdb.sql(f"select label, count(*) from read_parquet('{shards}') group by label order by label")
    assert counts.fetchall() == [(0, 5), (1, 5), (2, 5)]


def test_pandas_reads_it(built):
    pandas = pytest.importorskip("pandas")
    root, images, labels = built
    frame = pandas.read_parquet(root / "r0008")
    assert frame["label"].tolist() == labels.tolist()
    np.testing.assert_array_equal([decoded(image["bytes"]) for image in frame["image"]], images)
