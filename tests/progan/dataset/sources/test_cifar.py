"""CIFAR's sources on small files of the published structure, whose MD5s stand in for the published ones."""

import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, CIFAR100

from progan.dataset.build import build
from progan.dataset.sources import arrays
from progan.dataset.sources.cifar import open_cifar
from progan.errors import InputError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FINE = [f"fine {number:02d}" for number in range(100)]
BATCHES = [f"data_batch_{number}" for number in range(1, 6)]


def rows(seed, count):
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)


def write(file, value):
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(pickle.dumps(value, protocol=2))


@pytest.fixture
def cifar10(tmp_path, monkeypatch, md5_of):
    """Five batches of 12 images; returns the folder that holds cifar-10-batches-py, the rows, the labels."""
    folder = tmp_path / "raw" / "cifar-10-batches-py"
    folder.parent.mkdir()
    data = rows(1, 60)
    labels = np.random.default_rng(2).integers(0, 10, 60).tolist()
    for number, name in enumerate(BATCHES):
        part = slice(12 * number, 12 * number + 12)
        write(folder / name, {"batch_label": name, "labels": labels[part], "data": data[part]})
    write(folder / "test_batch", {"labels": [0], "data": rows(3, 1)})
    write(folder / "batches.meta", {"num_cases_per_batch": 12, "label_names": NAMES, "num_vis": 3072})
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5_of(folder / name)] for name in BATCHES])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5_of(folder / "test_batch")]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5_of(folder / "batches.meta")})
    return folder.parent, data, labels


@pytest.fixture
def cifar100(tmp_path, monkeypatch, md5_of):
    folder = tmp_path / "raw" / "cifar-100-python"
    folder.parent.mkdir()
    fine = np.random.default_rng(4).integers(0, 100, 60).tolist()
    coarse = [label // 5 for label in fine]
    write(folder / "train", {"fine_labels": fine, "coarse_labels": coarse, "data": rows(5, 60)})
    write(folder / "test", {"fine_labels": [0], "coarse_labels": [0], "data": rows(6, 1)})
    write(folder / "meta", {"fine_label_names": FINE, "coarse_label_names": [f"c{n}" for n in range(20)]})
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5_of(folder / "train")]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5_of(folder / "test")]])
    monkeypatch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": md5_of(folder / "meta")})
    return folder.parent, rows(5, 60), fine


def pictures(data):
    """A row is 1024 red values, then the green, then the blue; each row by row."""
    images = np.empty((len(data), 32, 32, 3), np.uint8)
    for y in range(32):
        for colour in range(3):
            begin = 1024 * colour + 32 * y
            images[:, y, :, colour] = data[:, begin : begin + 32]
    return images


def test_cifar10(cifar10, config, assert_built):
    root, data, labels = cifar10
    manifest = assert_built(config(root, source="cifar10", resolution=32), pictures(data), labels)
    assert [count.name for count in manifest.classes] == NAMES
    assert [count.images for count in manifest.classes] == np.bincount(labels).tolist()
    assert (manifest.images, manifest.channels, manifest.skipped, manifest.enlarged) == (60, 3, 0, 0)


def test_cifar100_by_its_fine_labels(cifar100, config, assert_built):
    root, data, labels = cifar100
    wanted = config(root, source="cifar100", resolution=16, seed=None, max_images=52)
    manifest = assert_built(wanted, pictures(data), labels)
    assert [count.name for count in manifest.classes] == FINE


def pack_tar(root, out):
    with tarfile.open(out, "w:gz") as archive:
        archive.add(root / "cifar-10-batches-py", "cifar-10-batches-py")
    return out


def pack_zip(root, out):
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (root / "cifar-10-batches-py").iterdir():
            archive.write(file, f"any/where/cifar-10-batches-py/{file.name}")
    return out


def as_downloaded(root, folder):
    pack_tar(root, folder / "cifar-10-python.tar.gz")
    return folder


LAYOUTS = {
    "the extracted folder itself": lambda root, new: root / "cifar-10-batches-py",
    "the download itself": lambda root, new: pack_tar(root, new / "cifar-10-python.tar.gz"),
    "the download's folder": as_downloaded,
    "a zip of it": lambda root, new: pack_zip(root, new / "c.zip"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_layouts_of_the_files(cifar10, tmp_path_factory, config, layout):
    root, data, labels = cifar10
    new = tmp_path_factory.mktemp("new")
    path = LAYOUTS[layout](root, new)
    source = open_cifar(config(path, source="cifar10", resolution=32), new / "scratch")
    assert [item.label for item in source.items] == labels
    np.testing.assert_array_equal([source.load(item).pixels for item in source.items], pictures(data))
    kept = sorted(file.name for file in (new / "scratch").rglob("*") if file.suffix != ".tar")
    assert kept == sorted([source.images.parent.name, "images.npy", "labels.npy", "classes.json"])


class Evil:
    """An object whose unpickling creates a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["data_batch_5", "test_batch", "batches.meta"])
def test_a_pickle_that_was_not_published_is_never_loaded(cifar10, tmp_path, config, md5_of, name):
    root, _, _ = cifar10
    file = root / "cifar-10-batches-py" / name
    published, _ = md5_of(file), write(file, Evil(tmp_path / "mark"))
    with pytest.raises(InputError) as error:
        build(config(root, source="cifar10", resolution=32), tmp_path / "out", workers=1)
    assert str(error.value) == (
        f"{file}: its MD5 is {md5_of(file)}, the published one {published}; "
        "fetch https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz again"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_a_pickle_that_changes_after_the_check_is_never_loaded(cifar10, tmp_path, config, monkeypatch):
    root, _, _ = cifar10
    digest_of = arrays.digest_of

    def meanwhile(value):
        write(root / "cifar-10-batches-py" / "data_batch_1", Evil(tmp_path / "mark"))
        return digest_of(value)

    monkeypatch.setattr(arrays, "digest_of", meanwhile)
    with pytest.raises(RuntimeError, match="not found or corrupted"):
        open_cifar(config(root, source="cifar10", resolution=32), tmp_path / "scratch")
    assert not (tmp_path / "mark").exists()
    assert not list((tmp_path / "scratch").iterdir())


def test_cifar100s_pickles_are_checked_too(cifar100, tmp_path, config):
    root, _, _ = cifar100
    for name in ("train", "test", "meta"):
        genuine = (root / "cifar-100-python" / name).read_bytes()
        write(root / "cifar-100-python" / name, Evil(tmp_path / "mark"))
        with pytest.raises(
            InputError, match=rf"cifar-100-python/{name}: its MD5 is .*cifar-100-python.tar.gz"
        ):
            open_cifar(config(root, source="cifar100", resolution=32), tmp_path)
        (root / "cifar-100-python" / name).write_bytes(genuine)
    assert not (tmp_path / "mark").exists()
    assert open_cifar(config(root, source="cifar100", resolution=32), tmp_path).channels == 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: (root / "cifar-10-batches-py" / "data_batch_3").unlink(),
            r"raw: no cifar-10-batches-py/data_batch_3 in it; fetch https://.*/cifar-10-python.tar.gz, or",
        ),
        (
            lambda root: (root / "cifar-10-batches-py").rename(root / "cifar-100-python"),
            "no cifar-10-batches-py/data_batch_1 in it",
        ),
    ],
)
def test_spoilt_files_are_one_clear_line(cifar10, tmp_path, config, spoil, message):
    root, _, _ = cifar10
    spoil(root)
    with pytest.raises(InputError, match=message) as error:
        build(config(root, source="cifar10", resolution=32), tmp_path / "out", workers=1)
    assert "\n" not in str(error.value)


def test_an_absurd_size_is_refused(cifar10, tmp_path, config):
    root, _, _ = cifar10
    os.truncate(root / "cifar-10-batches-py" / "data_batch_1", 2**40)
    with pytest.raises(InputError, match=r"data_batch_1: larger than 1 GiB; fetch"):
        open_cifar(config(root, source="cifar10"), tmp_path / "scratch")


def test_parameters_that_make_no_sense(cifar10, tmp_path, config):
    root, _, _ = cifar10
    with pytest.raises(InputError, match="resolution: 64: cifar10 has images of 32 px; use 32 or less"):
        open_cifar(config(root, source="cifar10", resolution=64), tmp_path)
    with pytest.raises(InputError, match="label_attributes: cifar10 has no attributes"):
        open_cifar(config(root, source="cifar10", label_attributes=("Bald",)), tmp_path)


def test_a_resumed_build_uses_the_array_again(cifar10, tmp_path, config, monkeypatch):
    root, _, _ = cifar10
    wanted = config(root, source="cifar10", resolution=32)
    first = open_cifar(wanted, tmp_path / "scratch")
    written = first.images.stat()
    again = open_cifar(wanted, tmp_path / "scratch")
    assert (again.images, again.identity) == (first.images, first.identity)
    assert (again.images.stat().st_ino, again.images.stat().st_mtime_ns) == (
        written.st_ino,
        written.st_mtime_ns,
    )
    (root / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"")
    with pytest.raises(InputError, match="data_batch_1: its MD5"):
        open_cifar(wanted, tmp_path / "scratch")


def test_a_full_disk(cifar10, config, small_disk):
    root, _, _ = cifar10
    disk = small_disk("300k")  # room for the files, not for the array beside them
    with pytest.raises(InputError, match="no space left on the disk; free some and run again"):
        build(config(root, source="cifar10", resolution=32), disk / "out", workers=1)
    assert not list(disk.rglob("*.npy"))


def test_the_workers_are_sent_no_image(cifar10, tmp_path, config):
    root, _, _ = cifar10
    source = open_cifar(config(root, source="cifar10", resolution=32), tmp_path)
    assert len(pickle.dumps(source)) < 4000
