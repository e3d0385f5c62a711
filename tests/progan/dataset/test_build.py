import csv
import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tarfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from progan.dataset.build import build
from progan.dataset.pyramid import pyramid
from progan.dataset.reader import load_images, load_manifest
from progan.dataset.sources.by_name import SOURCES
from progan.dataset.sources.folder import square
from progan.dataset.sources.source import Check, Item, Picture, UnusableImage
from progan.errors import InputError, Interrupted

NAMES = [f"{kind}/{number:02d}" for kind in ("cat", "dog", "eel") for number in range(9)]


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr("progan.dataset.build.images_per_shard", lambda resolution: 4)


def test_order_labels_and_pixels(tmp_path, config, photos, small_shards):
    root = photos(tmp_path / "p", NAMES, side=11)
    manifest = build(config(root, seed=7), tmp_path / "out", workers=1)
    order = np.arange(27)
    np.random.RandomState(7).shuffle(order)
    for resolution in (4, 8):
        images, labels = load_images(tmp_path / "out", resolution)
        assert images.shape == (27, 3, resolution, resolution)
        assert labels.tolist() == [place // 9 for place in order]
        for image, place in zip(images, order, strict=True):
            top = square(Image.open(root / f"{NAMES[place]}.png"), 8).pixels
            np.testing.assert_array_equal(image.transpose(1, 2, 0), pyramid(top)[resolution])
    assert manifest == load_manifest(tmp_path / "out")
    assert [(count.name, count.images) for count in manifest.classes] == [("cat", 9), ("dog", 9), ("eel", 9)]
    assert [shard.images for shard in manifest.level(8).shards] == [4] * 6 + [3]
    assert manifest.resolutions == (4, 8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "p"]


def test_a_limit_takes_the_first_after_shuffling(tmp_path, config, photos, small_shards):
    root = photos(tmp_path / "p", NAMES)
    build(config(root), tmp_path / "all", workers=1)
    manifest = build(config(root, max_images=10), tmp_path / "ten", workers=1)
    assert manifest.images == 10
    np.testing.assert_array_equal(
        load_images(tmp_path / "ten", 8)[0], load_images(tmp_path / "all", 8)[0][:10]
    )


def test_without_a_seed_the_order_is_the_sources(tmp_path, config, photos, small_shards):
    root = photos(tmp_path / "p", NAMES)
    build(config(root, seed=None, max_images=12), tmp_path / "out", workers=1)
    images, _ = load_images(tmp_path / "out", 8)
    expected = [np.asarray(Image.open(root / f"{name}.png")).transpose(2, 0, 1) for name in NAMES[:12]]
    np.testing.assert_array_equal(images, expected)


def test_only_the_configured_levels_are_built(tmp_path, config, photos, contents):
    """They equal those of a full build: means of the unrounded level above, up to the same top level."""
    root = photos(tmp_path / "p", NAMES, side=32)
    build(config(root, resolution=32), tmp_path / "all", workers=1)
    manifest = build(config(root, resolution=32, lowest_resolution=8), tmp_path / "some", workers=1)
    assert manifest.resolutions == (8, 16, 32)
    all_levels, top_levels = contents(tmp_path / "all"), contents(tmp_path / "some")
    top_levels.pop("dataset.json")
    assert top_levels
    assert all(all_levels[name] == data for name, data in top_levels.items())


@dataclasses.dataclass(frozen=True)
class Reconstructed:
    """A source of larger squares with a check for each image."""

    items: tuple[Item, ...]
    classes: tuple[str, ...] = ()
    identity: str = ""
    channels: int = 3

    def load(self, item):
        number = int(item.name)
        if number % 4 == 3:
            raise UnusableImage("no delta", Check("failed", "no delta"))
        check = Check("close", "largest difference 2") if number % 4 == 2 else Check("exact", "")
        return Picture(np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8), check=check)


def test_checks_are_counted_and_listed(tmp_path, config, small_shards, monkeypatch):
    source = Reconstructed(tuple(Item(str(number), None) for number in range(12)))
    monkeypatch.setitem(SOURCES, "known", lambda config, scratch: source)
    parameters = config("x", source="known", resolution=8, seed=None, max_skipped=0.25)
    manifest = build(parameters, tmp_path / "out", workers=1)
    assert manifest.checks == {"close": 3, "exact": 6, "failed": 3}
    assert load_manifest(tmp_path / "out") == manifest
    rows = list(csv.DictReader((tmp_path / "out" / "checks.csv").open()))
    assert [(row["image"], row["result"]) for row in rows[:4]] == [
        ("0", "exact"),
        ("1", "exact"),
        ("2", "close"),
        ("3", "failed"),
    ]
    assert [row["detail"] for row in rows[2:4]] == ["largest difference 2", "no delta"]
    top = source.load(source.items[0]).pixels
    for resolution in (4, 8):
        first = load_images(tmp_path / "out", resolution)[0][0].transpose(1, 2, 0)
        np.testing.assert_array_equal(first, pyramid(top)[resolution])


def test_each_image_is_decoded_once(tmp_path, config, small_shards, monkeypatch):
    source = Reconstructed(tuple(Item(str(number), None) for number in range(0, 40, 4)))
    loaded = []
    load = Reconstructed.load
    monkeypatch.setattr(
        Reconstructed, "load", lambda self, item: loaded.append(item.name) or load(self, item)
    )
    monkeypatch.setitem(SOURCES, "known", lambda config, scratch: source)
    build(config("x", source="known", resolution=32), tmp_path / "out", workers=1)
    assert sorted(loaded) == sorted(item.name for item in source.items)


def test_no_worker_outlives_an_interrupted_build(tmp_path, config, photos, small_shards):
    root = photos(tmp_path / "p", NAMES)
    with pytest.raises(KeyboardInterrupt):
        build(config(root, seed=1), tmp_path / "out", 2, stop_after(27))
    assert not multiprocessing.active_children()


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path, config, photos, contents, small_shards):
    root = photos(tmp_path / "p", [f"{number % 3}/{number}" for number in range(10)], side=4)
    (root / "0" / "broken.png").write_bytes(b"nothing")
    steps = []
    parameters = config(root, resolution=4, max_skipped=0.1)
    one = build(parameters, tmp_path / "one", 1, lambda *step: steps.append(step))
    assert (steps[0], steps[-1], len(set(steps))) == ((0, 11), (11, 11), 12)
    steps.clear()
    two = build(parameters, tmp_path / "two", 2, lambda *step: steps.append(step))
    assert (steps[0], steps[-1], sorted(steps)) == ((0, 11), (11, 11), steps)
    assert one == two
    assert not multiprocessing.active_children()
    assert len(one.level(4).shards) == 3
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_folder_and_its_archive_give_the_same_images(tmp_path, config, photos, contents):
    root = photos(tmp_path / "p", NAMES)
    with tarfile.open(tmp_path / "p.tar.xz", "w:xz") as archive:
        archive.add(root, ".")
    build(config(root), tmp_path / "a", workers=1)
    build(config(tmp_path / "p.tar.xz"), tmp_path / "b", workers=1)
    one, other = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert json.loads(one.pop("dataset.json")) | {"name": "p.tar.xz"} == json.loads(other.pop("dataset.json"))
    assert one == other


KILLED_BUILD = """
import os, signal, sys
from pathlib import Path
from progan.config import DatasetConfig
from progan.dataset import build

def progress(done, total):
    if done == 6:
        os.kill(os.getpid(), signal.SIGKILL)

build.images_per_shard = lambda resolution: 4
config = DatasetConfig("folder", sys.argv[1], 4, 4, 123, (), None, 0.0, "report")
build.build(config, Path(sys.argv[2]), 1, progress)
"""


def test_a_killed_build_continues_to_the_same_bytes(tmp_path, config, photos, contents, small_shards):
    root = photos(tmp_path / "p", NAMES, side=4)
    (tmp_path / "killed.py").write_text(KILLED_BUILD)
    arguments = [sys.executable, "killed.py", "p", "out"]
    killed = subprocess.run(arguments, cwd=tmp_path, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (tmp_path / "out").exists()
    steps = []
    build(config(root, resolution=4), tmp_path / "out", 1, lambda *step: steps.append(step))
    assert steps[0] == (4, 27)
    build(config(root, resolution=4), tmp_path / "whole", 1)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not list(tmp_path.glob(".*"))


def stop_after(images):
    def progress(done, total):
        if done == images:
            raise KeyboardInterrupt

    return progress


def test_changed_input_does_not_reuse_old_shards(tmp_path, config, photos, small_shards):
    root = photos(tmp_path / "p", NAMES)
    with pytest.raises(KeyboardInterrupt):
        build(config(root), tmp_path / "out", 1, stop_after(10))
    assert len(list(tmp_path.glob(".out.partial/*/finished/*.json"))) == 2
    photos(root, NAMES[:1], side=9)
    steps = []
    build(config(root), tmp_path / "out", 1, lambda *step: steps.append(step))
    assert steps[0] == (0, 27)
    with pytest.raises(KeyboardInterrupt):
        build(config(root), tmp_path / "out", 1, stop_after(10))
    build(config(root, seed=5), tmp_path / "out", 1, lambda *step: steps.append(step))
    assert load_manifest(tmp_path / "out").parameters["seed"] == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "p"]


def test_a_receipt_without_its_shards_is_ignored(tmp_path, config, photos, small_shards, contents):
    root = photos(tmp_path / "p", NAMES)
    with pytest.raises(KeyboardInterrupt):
        build(config(root), tmp_path / "out", 1, stop_after(10))
    next(tmp_path.glob(".out.partial/*/dataset/r0004/*00001*")).unlink()
    steps = []
    build(config(root), tmp_path / "out", 1, lambda *step: steps.append(step))
    assert steps[0] == (4, 27)
    build(config(root), tmp_path / "whole", 1)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_unusable_images_are_counted_and_named(tmp_path, config, photos, small_shards):
    root = photos(tmp_path / "p", NAMES, side=5)
    (root / "cat" / "05.png").write_bytes(b"")
    (root / "eel" / "link.png").symlink_to(root / "gone.png")
    (root / "eel" / "00.png").rename(os.fsdecode(bytes(root) + b"/eel/\xff.png"))
    (root / "dog" / "x.jpg").write_bytes((root / "dog" / "01.png").read_bytes()[:60])
    manifest = build(config(root, max_skipped=0.11), tmp_path / "out", workers=1)
    assert (manifest.images, manifest.skipped, manifest.enlarged) == (26, 3, 26)
    assert {skip.name: skip.why.split(":")[0] for skip in manifest.skipped_items} == {
        "cat/05.png": "the file is empty",
        "dog/x.jpg": "unreadable",
        "eel/link.png": "unreadable",
    }
    assert str(tmp_path) not in (tmp_path / "out" / "dataset.json").read_text()
    assert Counter({count.name: count.images for count in manifest.classes}) == {"cat": 8, "dog": 9, "eel": 9}
    assert len(load_images(tmp_path / "out", 8)[0]) == 26
    with pytest.raises(
        InputError,
        match=r"p: at least \d of 29 images are unusable, more than .* allows \(0.01\): (cat|dog|eel)/",
    ):
        build(config(root, max_skipped=0.01), tmp_path / "strict", workers=1)
    assert not (tmp_path / "strict").exists()


def test_one_image_makes_no_dataset(tmp_path, config, photos):
    """There would be nothing to compare it with after training."""
    root = photos(tmp_path / "p", ["1"])
    with pytest.raises(InputError, match="p: a dataset needs at least 2 images; add some"):
        build(config(root), tmp_path / "out", workers=1)
    (root / "2.png").write_bytes(b"1")
    with pytest.raises(
        InputError, match="1 of 2 images are unusable, and a dataset needs 2 .*; repair them, or add"
    ):
        build(config(root, max_skipped=1.0), tmp_path / "out", workers=1)
    with pytest.raises(InputError, match="p: a dataset needs at least 2 images"):
        build(config(root, max_images=1), tmp_path / "out", workers=1)


def test_photographs_in_grey(tmp_path, config, photos, small_config):
    root = photos(tmp_path / "p", ["1", "2"])
    colour = small_config.network
    grey, parameters = dataclasses.replace(colour, channels=1), config(root, seed=None, channels=1)
    with pytest.raises(InputError, match="network.channels: is 3, but .*p has 1; set it to 1"):
        build(parameters, tmp_path / "out", 1, network=colour)
    with pytest.raises(InputError, match="network.channels: is 1, but .*p has 3; .*or dataset.channels to 1"):
        build(config(root), tmp_path / "out", 1, network=grey)
    manifest = build(parameters, tmp_path / "out", 1, network=grey)
    assert (manifest.channels, manifest.parameters["channels"]) == (1, 1)
    images, _ = load_images(tmp_path / "out", 8)
    for image, name in zip(images, ("1", "2"), strict=True):
        red, green, blue = np.asarray(Image.open(root / f"{name}.png"), float).transpose(2, 0, 1)
        assert np.abs(image[0] - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 1


def test_grey_images_in_colour(tmp_path, config, grey_dataset):
    """Of a source that is grey by itself."""
    build(config("x", source="grey", channels=3), tmp_path / "colour", workers=1)
    grey, colour = (load_images(folder, 8)[0] for folder in (grey_dataset, tmp_path / "colour"))
    np.testing.assert_array_equal(colour, grey.repeat(3, axis=1))


def test_bad_input_leaves_nothing_behind(tmp_path, config, photos):
    root = photos(tmp_path / "p", ["1"])
    for parameters in (
        config(tmp_path / "gone"),
        config(root, source="nowhere"),
        config(root, source="celeba-wild"),
    ):
        with pytest.raises(InputError) as error:
            build(parameters, tmp_path / "out", workers=1)
        assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_only_a_dataset_is_replaced(tmp_path, config, photos):
    root = photos(tmp_path / "p", ["1", "2"])
    with pytest.raises(InputError, match="p: exists and is no dataset; choose another folder"):
        build(config(root), root, workers=1)
    (tmp_path / "out").mkdir()
    build(config(root), tmp_path / "out", workers=1)
    assert load_manifest(tmp_path / "out").parameters["seed"] == 123
    build(config(root, seed=1), tmp_path / "out", workers=1)
    assert load_manifest(tmp_path / "out").parameters["seed"] == 1


def test_two_builds_of_one_dataset_at_once(tmp_path, config, photos):
    root = photos(tmp_path / "p", ["1", "2"])

    def meanwhile(done, total):
        with pytest.raises(InputError, match="out: another build is writing it"):
            build(config(root), tmp_path / "out", workers=1)

    assert build(config(root), tmp_path / "out", 1, meanwhile).images == 2


def test_a_killed_worker_is_an_interruption(tmp_path, config, photos, small_shards):
    root = photos(tmp_path / "p", NAMES, side=4)

    def kill_a_worker(done, total):
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(Interrupted, match="worker process was killed"):
        build(config(root, resolution=4), tmp_path / "out", 2, kill_a_worker)
    assert build(config(root, resolution=4), tmp_path / "out", 1).images == 27


def test_a_full_disk_is_one_clear_line(tmp_path, config, photos, small_disk):
    disk = small_disk("200k")
    root = photos(tmp_path / "p", [str(number) for number in range(80)], side=32)
    with pytest.raises(InputError, match="no space left on the disk; free some and run again"):
        build(config(root, resolution=32), disk / "out", 1)
    assert not (disk / "out").exists()
    assert not list(disk.rglob("*.partial/*/dataset/*/.*"))
