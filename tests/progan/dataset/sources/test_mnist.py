import gzip
import pickle
import struct

import numpy as np
import pytest

from progan.dataset.build import build
from progan.dataset.reader import load_images
from progan.dataset.sources import originals
from progan.dataset.sources.mnist import MnistRgb, open_mnist
from progan.errors import InputError

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.fixture
def mnist(tmp_path):
    """53 digits in idx files; returns their folder, the images [N,28,28] and the digits."""
    rng = np.random.default_rng(7)
    images, digits = rng.integers(0, 256, (53, 28, 28), np.uint8), rng.integers(0, 10, 53, np.uint8)
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / IMAGES).write_bytes(struct.pack(">IIII", 0x803, 53, 28, 28) + images.tobytes())
    (folder / LABELS).write_bytes(struct.pack(">II", 0x801, 53) + digits.tobytes())
    return folder, images, digits


def framed(images):
    """28 px in the middle of 32 px of black: [N,28,28] → [N,32,32]."""
    result = np.zeros((len(images), 32, 32), np.uint8)
    result[:, 2:30, 2:30] = images
    return result


def test_mnist(mnist, config, assert_built):
    folder, images, digits = mnist
    manifest = assert_built(config(folder, source="mnist", resolution=32), framed(images)[..., None], digits)
    assert manifest.channels == 1
    assert [count.name for count in manifest.classes] == [str(digit) for digit in range(10)]


@pytest.mark.parametrize("layout", ["as downloaded", "one of the files", "as torchvision keeps them"])
def test_all_layouts_of_the_files(mnist, tmp_path, config, layout):
    folder, images, digits = mnist
    path = folder
    if layout == "as torchvision keeps them":
        folder.rename(tmp_path / "MNIST")
        path = tmp_path
    else:
        for name in (IMAGES, LABELS):
            (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
            (folder / name).unlink()
        if layout == "one of the files":
            path = folder / f"{LABELS}.gz"
    source = open_mnist(config(path, source="mnist", resolution=32), tmp_path / "scratch")
    assert [item.label for item in source.items] == digits.tolist()
    np.testing.assert_array_equal(source.load(source.items[17]).pixels[..., 0], framed(images)[17])


def test_the_identity_does_not_depend_on_the_packing(mnist, tmp_path, config):
    folder, _, _ = mnist
    parameters = config(folder, source="mnist", resolution=32)
    plain = open_mnist(parameters, tmp_path / "scratch")
    (folder / f"{IMAGES}.gz").write_bytes(gzip.compress((folder / IMAGES).read_bytes()))
    (folder / IMAGES).unlink()
    assert open_mnist(parameters, tmp_path / "scratch").identity == plain.identity
    data = bytearray((folder / LABELS).read_bytes())
    data[-1] = (data[-1] + 1) % 10
    (folder / LABELS).write_bytes(data)
    other = open_mnist(parameters, tmp_path / "scratch")
    assert other.identity != plain.identity
    assert other.items[52].label == data[-1]
    assert plain.items[52].label != data[-1]


def edit(name, change):
    def spoil(folder):
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: (folder / LABELS).unlink(),
            rf"raw: no {LABELS} in it; fetch https://.*/mnist/{LABELS}.gz, or check dataset.path",
        ),
        (
            edit(IMAGES, lambda data: data[:-5]),
            f"raw: {IMAGES} and {LABELS}: not MNIST's, or damaged .*invalid",
        ),
        (edit(IMAGES, lambda data: b""), "not MNIST's, or damaged .*; fetch https"),
        (edit(IMAGES, lambda data: b"\x89PNG" + data[4:]), r"damaged \(no idx files\); fetch"),
        (edit(IMAGES, lambda data: data[:2] + b"\x0e" + data[3:]), "not MNIST's, or damaged"),
        (edit(IMAGES, lambda data: data[:4] + struct.pack(">III", 106, 14, 28) + data[16:]), "28×14 px"),
        (edit(LABELS, lambda data: data[:4] + struct.pack(">I", 52) + data[9:]), "53 images, 52 labels"),
        (edit(LABELS, lambda data: data[:-1] + b"\xff"), "labels that are not digits"),
    ],
)
def test_spoilt_files_are_one_clear_line(mnist, tmp_path, config, spoil, message):
    folder, _, _ = mnist
    spoil(folder)
    with pytest.raises(InputError, match=message) as error:
        build(config(folder, source="mnist", resolution=32), tmp_path / "out", workers=1)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_files_without_a_single_image(mnist, tmp_path, config):
    folder, _, _ = mnist
    (folder / IMAGES).write_bytes(struct.pack(">IIII", 0x803, 0, 28, 28))
    (folder / LABELS).write_bytes(struct.pack(">II", 0x801, 0))
    with pytest.raises(InputError, match="not MNIST's, or damaged"):
        open_mnist(config(folder, source="mnist", resolution=32), tmp_path)


@pytest.mark.parametrize("change", [lambda data: data[:-40], lambda data: data[:99] + b"\0\0\0" + data[102:]])
def test_a_damaged_gzip_is_one_clear_line(mnist, tmp_path, config, change):
    folder, _, _ = mnist
    (folder / f"{IMAGES}.gz").write_bytes(change(gzip.compress((folder / IMAGES).read_bytes())))
    (folder / IMAGES).unlink()
    with pytest.raises(InputError, match=rf"raw/{IMAGES}.gz: damaged .*; fetch it again"):
        open_mnist(config(folder, source="mnist", resolution=32), tmp_path)


def test_a_gzip_bomb_is_not_unpacked(mnist, tmp_path, config, monkeypatch):
    folder, _, _ = mnist
    (folder / f"{IMAGES}.gz").write_bytes(gzip.compress(bytes(2**24)))
    (folder / IMAGES).unlink()
    monkeypatch.setattr(originals, "MAX_FILE_BYTES", 2**20)
    with pytest.raises(InputError, match=rf"{IMAGES}.gz: larger than"):
        open_mnist(config(folder, source="mnist", resolution=32), tmp_path)


def drawn_one_by_one(count, digits):
    """The authors' loop: three places for each image in turn."""
    random = np.random.RandomState(123)
    return [[int(place) for place in random.randint(digits, size=3)] for _ in range(count)]


def test_mnistrgb(mnist, config, assert_built):
    folder, images, digits = mnist
    triples = drawn_one_by_one(60, 53)
    tops = np.stack([np.stack([framed(images)[place] for place in three], -1) for three in triples])
    labels = [int("".join(str(digits[place]) for place in three)) for three in triples]
    parameters = config(folder, source="mnistrgb", resolution=32, max_images=60)
    manifest = assert_built(parameters, tops, labels)
    assert manifest.channels == 3
    assert [count.name for count in manifest.classes] == [f"{label:03d}" for label in range(1000)]
    assert sum(count.images for count in manifest.classes) == 60


def test_mnistrgb_in_the_order_of_the_draw(mnist, tmp_path, config):
    folder, images, _ = mnist
    build(
        config(folder, source="mnistrgb", seed=None, resolution=32, max_images=40), tmp_path / "o", workers=1
    )
    built, _ = load_images(tmp_path / "o", 32)
    np.testing.assert_array_equal(built, framed(images)[np.array(drawn_one_by_one(40, 53))])


def test_a_million_images_need_little_memory(mnist, tmp_path, config):
    folder, _, digits = mnist
    source = MnistRgb.open(config(folder, source="mnistrgb", resolution=32), tmp_path)
    assert len(source.items) == 1_000_000
    assert len(pickle.dumps(source)) < 15e6
    triples = np.array(drawn_one_by_one(2000, 53))
    np.testing.assert_array_equal(source.drawn[:2000], triples)
    assert source.items[1999].label == int("".join(map(str, digits[triples[-1]])))
    assert source.items[999_999].name == "999999"
    assert max(source.items.labels) <= 999
