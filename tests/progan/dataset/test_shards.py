import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from progan.dataset import shards
from progan.dataset.png import encode_png
from progan.dataset.shards import images_per_shard, shard_schema, shard_writer

RNG = np.random.default_rng(6)
IMAGES = [RNG.integers(0, 256, (8, 8, 3), np.uint8) for _ in range(5)]


def write(path, classes=("cat", "dog")):
    with shard_writer(path, shard_schema(classes)) as writer:
        for number, image in enumerate(IMAGES):
            writer.add(encode_png(image), f"a/{number}.jpg", number % 2 if classes else None)
    return path


@pytest.mark.parametrize("row_group_bytes", [1, 400, 2**20])
def test_rows_come_back(tmp_path, monkeypatch, row_group_bytes):
    monkeypatch.setattr(shards, "ROW_GROUP_BYTES", row_group_bytes)
    table = pq.read_table(write(tmp_path / "s.parquet"))
    assert table.column_names == ["image", "label"]
    assert table["label"].to_pylist() == [0, 1, 0, 1, 0]
    for row, image in zip(table["image"].to_pylist(), IMAGES, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(row["bytes"]))), image)
    assert [row["path"] for row in table["image"].to_pylist()] == [f"a/{number}.jpg" for number in range(5)]


def test_the_metadata_is_what_datasets_writes(tmp_path):
    schema = pq.read_schema(write(tmp_path / "s.parquet"))
    assert json.loads(schema.metadata[b"huggingface"]) == {
        "info": {
            "features": {
                "image": {"_type": "Image"},
                "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
            }
        }
    }
    assert str(schema.field("image").type) == "struct<bytes: binary, path: string>"
    assert str(schema.field("label").type) == "int64"
    unlabelled = pq.read_schema(write(tmp_path / "u.parquet", classes=()))
    assert unlabelled.names == ["image"]
    assert json.loads(unlabelled.metadata[b"huggingface"]) == {
        "info": {"features": {"image": {"_type": "Image"}}}
    }


def test_the_same_rows_give_the_same_bytes(tmp_path):
    assert write(tmp_path / "1.parquet").read_bytes() == write(tmp_path / "2.parquet").read_bytes()


def test_a_shard_appears_whole_or_not_at_all(tmp_path):
    def interrupted():
        with shard_writer(tmp_path / "s.parquet", shard_schema(())) as writer:
            writer.add(b"png", "1", None)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("resolution", [4, 32, 256, 512, 1024])
def test_no_shard_exceeds_512_mb(resolution):
    noise = RNG.integers(0, 256, (resolution, resolution, 3), np.uint8)
    assert images_per_shard(resolution) * (len(encode_png(noise)) + 300) < 512e6
