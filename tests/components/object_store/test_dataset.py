"""A built dataset in a real bucket: one resolution of it comes, verified, and not twice."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.filesize import decimal

from components.object_store import open_store
from components.object_store.dataset import fetch_dataset, fetch_level, upload_dataset
from progan import config
from progan.dataset.build import build
from progan.dataset.reader import load_images, load_manifest
from progan.dataset.verify import verify
from progan.errors import InputError, Unavailable
from progan.files import write_json


@pytest.fixture
def built(tmp_path, small_params, photographs, monkeypatch):
    """A dataset of several shards a level."""
    monkeypatch.setattr("progan.dataset.build.images_per_shard", lambda resolution: 10)
    small_params["dataset"] |= {"source": "folder", "path": str(photographs), "label_attributes": []}
    folder = tmp_path / "built"
    build(config.parse(small_params, "params.yaml").dataset, folder, workers=1)
    return folder


@pytest.fixture
def uri(built, address, tmp_path, monkeypatch):
    """Its address, where another dataset's caches are not known."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    upload_dataset(built, f"{address}/multires")
    return f"{address}/multires"


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_the_phases_own_resolution_comes(uri, built):
    manifest = load_manifest(built)
    assert len(manifest.level(16).shards) > 2
    folder = fetch_level(uri, manifest.digest, 16)
    wanted = {"dataset.json", *(shard.file for shard in manifest.level(16).shards)}
    fetched = files_in(folder)
    assert {name for name in fetched if "lock" not in name} == wanted
    assert all(fetched[name] == (built / name).read_bytes() for name in wanted)
    images, labels = load_images(folder, 16)
    expected, expected_labels = load_images(built, 16)
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(labels, expected_labels)
    assert fetch_level(uri, "", 8) == folder
    np.testing.assert_array_equal(load_images(folder, 8)[0], load_images(built, 8)[0])


def test_what_is_there_and_right_is_not_fetched_again(uri, built):
    first, second, *others = load_manifest(built).level(16).shards
    folder = fetch_level(uri, "", 16)
    (folder / first.file).write_bytes(b"damaged")
    cut_off = folder / "r0016/.000.parquet.123.partial"
    cut_off.write_bytes(b"half")
    store = open_store(uri)
    for shard in (second, *others):
        store.delete(shard.file)
    fetch_level(uri, "", 16)
    assert (folder / first.file).read_bytes() == (built / first.file).read_bytes()
    assert not cut_off.exists()


def test_a_fetch_that_failed_goes_on(uri, built):
    """With what came before it failed; in the end nothing else is left in the bucket."""
    missing = load_manifest(built).level(16).shards[-1]
    store = open_store(uri)
    content = store.read(missing.file)
    store.delete(missing.file)
    with pytest.raises(InputError, match=rf"{uri}/{missing.file}: this shard is missing; copy the built"):
        fetch_level(uri, "", 16)
    store.write(missing.file, content)
    for shard in load_manifest(built).level(16).shards[:-1]:
        store.delete(shard.file)
    np.testing.assert_array_equal(load_images(fetch_level(uri, "", 16), 16)[0], load_images(built, 16)[0])


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_all_of_it_comes(uri, built, tmp_path, kind):
    """To the last byte, with the list of checks where there is one, in the place of what stood there."""
    write_json(built / "dataset.json", load_manifest(built).to_json() | {"checks": {"exact": 1}})
    (built / "checks.csv").write_text("image,result,detail\na,exact,\n")
    upload_dataset(built, uri)
    out, digest = tmp_path / "data/multires", load_manifest(built).digest
    (out / "r0004").mkdir(parents=True)
    (out / "r0004/old.parquet").write_text("another dataset's")
    with pytest.raises(
        InputError, match=f"{out}: exists and is no dataset; choose another folder, or delete"
    ):
        fetch_dataset(uri, digest, out)
    write_json(out / "dataset.json", load_manifest(built).to_json() | {"name": "another"})
    fetch_dataset(str(built) if kind == "folder" else uri, digest, out)
    assert files_in(out) == files_in(built)
    assert verify(out).digest == digest
    open_store(uri).delete("checks.csv")
    with pytest.raises(InputError, match=rf"{uri}/checks\.csv: there is no such object; copy the built"):
        fetch_dataset(uri, digest, out)


def test_all_of_it_or_nothing(uri, built, tmp_path, capsys):
    """What was brought before a shard could not be had is not fetched again, nor what is in place already."""
    out, manifest, store = tmp_path / "data/multires", load_manifest(built), open_store(uri)
    shards = [shard for level in manifest.levels.values() for shard in level.shards]
    missing, others = shards[-1], shards[:-1]
    content = store.read(missing.file)
    store.delete(missing.file)
    with pytest.raises(InputError, match=rf"{uri}/{missing.file}: this shard is missing; copy the built"):
        fetch_dataset(uri, manifest.digest, out)
    assert not out.exists()
    (beside,) = out.parent.glob("*.partial")
    (beside / "r0016/.train-00000-of-00004.parquet.123.partial").write_bytes(b"half")
    (out.parent / ".multires.0123456789abcdef.partial").mkdir()  # of another dataset
    store.write(missing.file, content)
    for shard in others:
        store.delete(shard.file)
    capsys.readouterr()
    fetch_dataset(uri, manifest.digest, out)
    assert capsys.readouterr().out == f"{uri}: {decimal(missing.bytes)} to fetch\n"
    assert files_in(out) == files_in(built)
    assert not list(out.parent.glob("*.partial"))
    store.delete(missing.file)
    (out / others[0].file).write_bytes(b"damaged")
    with pytest.raises(InputError, match=f"{uri}/.*: this shard is missing"):
        fetch_dataset(uri, manifest.digest, out)
    store.write(others[0].file, (built / others[0].file).read_bytes())
    fetch_dataset(uri, manifest.digest, out)
    assert files_in(out) == files_in(built)


def test_a_disk_without_room_for_it(uri, built, small_disk):
    disk, digest = small_disk("16k"), load_manifest(built).digest
    with pytest.raises(InputError, match=rf"{disk}: .* free, but .* to fetch; make room and run again"):
        fetch_dataset(uri, digest, disk / "multires")
    assert [path.name for path in disk.iterdir()] == [".multires.lock"]


def test_the_expected_dataset_is_demanded(uri, built):
    digest = load_manifest(built).digest
    for place in (uri, str(built)):
        with pytest.raises(InputError, match=f"{place}: holds the dataset {digest[:12]}, not 0123"):
            fetch_level(place, "0123456789", 16)
        with pytest.raises(InputError, match=f"{place}: holds the dataset {digest[:12]}, not 0123"):
            fetch_dataset(place, "0123456789", built.parent / "out")
    assert fetch_level(str(built), digest, 16) == built
    with pytest.raises(InputError, match=f"{uri}: holds no 32 px, only 4, 8, 16"):
        fetch_level(uri, digest, 32)
    with pytest.raises(InputError, match="gs://data: neither a folder's path nor an s3:// address"):
        fetch_level("gs://data", "", 16)


def test_what_is_wrong_in_the_bucket(uri, built):
    store, shard = open_store(uri), load_manifest(built).level(16).shards[1]
    store.write(shard.file, b"other")
    with pytest.raises(InputError, match=f"{uri}/{shard.file}: not the shard that dataset.json describes"):
        fetch_level(uri, "", 16)
    assert not list(Path(built.parent / "cache").rglob(f"*{Path(shard.file).name}*"))
    manifest = json.loads((built / "dataset.json").read_text())
    manifest["levels"]["r0016"]["shards"][0]["file"] = "../../outside.parquet"
    store.write("dataset.json", json.dumps(manifest).encode())
    with pytest.raises(InputError, match=r"the shard \.\./\.\./outside\.parquet does not lie in the dataset"):
        fetch_level(uri, "", 16)
    store.write("dataset.json", b"{")
    with pytest.raises(InputError, match=f"{uri}/dataset.json: not valid JSON .*; copy the built dataset"):
        fetch_level(uri, "", 16)
    store.delete("dataset.json")
    with pytest.raises(InputError, match=f"{uri}/dataset.json: there is no such object"):
        fetch_level(uri, "", 16)


def test_a_server_that_is_away(uri, impatient, stopped):
    with pytest.raises(Unavailable, match=f"{uri}/dataset.json: does not answer, try again later"):
        fetch_level(uri, "", 16)
