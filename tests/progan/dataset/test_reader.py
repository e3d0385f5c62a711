import dataclasses
import json

import numpy as np
import psutil
import pytest

from progan.dataset import reader
from progan.dataset.build import build
from progan.dataset.reader import load_images, load_manifest, load_training_set
from progan.errors import InputError


@pytest.fixture
def built(tmp_path, config, photos):
    build(config(photos(tmp_path / "p", ["a/1", "a/2", "b/3"])), tmp_path / "out", workers=1)
    return tmp_path / "out"


def test_images_and_labels(built):
    images, labels = load_images(built, 4)
    assert (images.shape, images.dtype, images.flags.c_contiguous) == ((3, 3, 4, 4), np.uint8, True)
    assert (labels.dtype, sorted(labels)) == (np.int64, [0, 0, 1])


def test_only_what_the_network_takes(built, tmp_path, config, photos, small_config):
    def network(label_size=0, channels=3):
        return dataclasses.replace(small_config.network, label_size=label_size, channels=channels)

    images, labels = load_training_set(built, 4, network(2))
    assert np.array_equal(images, load_images(built, 4)[0])
    assert np.array_equal(labels, load_images(built, 4)[1])
    assert load_training_set(built, 4, network())[1] is None
    message = "network.label_size: is 3, but .*out has 2 classes; set it to 2, or to 0 to do without labels"
    with pytest.raises(InputError, match=message):
        load_training_set(built, 4, network(3))
    build(config(photos(tmp_path / "q", ["1", "2"])), tmp_path / "one", workers=1)
    assert load_training_set(tmp_path / "one", 4, network())[1] is None
    with pytest.raises(InputError, match="is 2, but .*one has 0 classes; set it to 0"):
        load_training_set(tmp_path / "one", 4, network(2))
    with pytest.raises(InputError, match="channels: is 1, but .*one has 3; set it to 3, or dataset"):
        load_training_set(tmp_path / "one", 4, network(channels=1))


def test_a_changed_shard_is_detected(built):
    shard = built / load_manifest(built).level(8).shards[0].file
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(
        InputError, match=r"r0008/train-00000-of-00001.parquet: not the shard .* run build-dataset"
    ):
        load_images(built, 8)
    load_images(built, 4)
    shard.unlink()
    with pytest.raises(InputError, match=r"this shard is missing; run build-dataset again"):
        load_images(built, 8)


def test_a_resolution_that_was_not_built(built):
    with pytest.raises(InputError, match=r"holds no 16 px, only 4, 8; raise dataset.resolution and rebuild"):
        load_images(built, 16)


def test_invalid_manifests(tmp_path, built):
    with pytest.raises(InputError, match=r"dataset.json: no such file"):
        load_manifest(tmp_path / "nowhere")
    file = built / "dataset.json"
    good = json.loads(file.read_text())
    levels = good["levels"]
    shards = [levels["r0004"]["shards"][0] | {"images": 2}]
    for bad in (
        [],
        {},
        good | {"format": 99},
        good | {"more": 1},
        good | {"classes": [1]},
        good | {"levels": levels | {"r0004": {"digest": "", "shards": shards}}},
        {key: value for key, value in good.items() if key != "images"},
    ):
        file.write_text(json.dumps(bad))
        with pytest.raises(
            InputError, match=r"dataset.json: not a dataset's manifest .*; run build-dataset again"
        ):
            load_manifest(built)
    file.write_text("{")
    with pytest.raises(InputError, match=r"dataset.json: not valid JSON"):
        load_manifest(built)


def test_the_manifest_contains_no_times_or_paths(built, tmp_path):
    assert str(tmp_path) not in (built / "dataset.json").read_text()


def test_images_that_do_not_fit_into_memory(built, monkeypatch):
    """They are decoded into an unnamed file instead, which leaves nothing in the folder."""
    images, labels = load_images(built, 8)
    before = sorted(built.rglob("*"))
    monkeypatch.setattr("progan.dataset.reader._free_memory", lambda: 4 * images.nbytes)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert not isinstance(load_images(built, 8)[0], np.memmap)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    mapped, same_labels = load_images(built, 8)
    assert isinstance(mapped, np.memmap)
    assert sorted(built.rglob("*")) == before
    np.testing.assert_array_equal(mapped, images)
    assert (labels is None and same_labels is None) or np.array_equal(labels, same_labels)


def test_images_that_do_not_fit_on_the_disk_either(small_disk, monkeypatch):
    """A full disk is an error before a page that cannot be written kills the process."""
    monkeypatch.setattr("progan.dataset.reader._free_memory", lambda: 0)
    with pytest.raises(InputError, match="no space left on the disk"):
        reader._allocate((2, 2**20), small_disk("1m"))


def test_memory_that_only_caches_files_is_free():
    """As psutil counts it: between unused memory and all memory."""
    free, memory = reader._free_memory(), psutil.virtual_memory()
    assert free == pytest.approx(memory.available, abs=2**29)
    assert free <= memory.total
