import struct

import numpy as np
import pytest

from progan.dataset.build import build
from progan.dataset.reader import load_images
from progan.dataset.sources.source import UnusableImage
from progan.dataset.sources.tf_example import parse_image
from progan.dataset.sources.tfrecords import TfRecords, masked_crc32c
from progan.errors import InputError

RNG = np.random.default_rng(2)


def crc32c(data):
    """Castagnoli's CRC, a bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32)


def varint(number):
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + varint(number // 128)


def field(number, message):
    return varint(number << 3 | 2) + varint(len(message)) + message


def example(image, packed=True):
    """A tf.train.Example as the authors' code fills it: `shape` [C,H,W] and `data`."""
    if packed:
        shape = field(1, b"".join(map(varint, image.shape)))
    else:
        shape = b"".join(varint(1 << 3) + varint(side) for side in image.shape)
    features = {b"shape": field(3, shape), b"data": field(1, field(1, image.tobytes()))}
    return field(1, b"".join(field(1, field(1, name) + field(2, value)) for name, value in features.items()))


def record(data):
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def levels_of(image):
    """All levels of uint8 [C,R,R] by the authors' rule: means of the level above before it was rounded."""
    level, levels = image.astype(np.float32), []
    while True:
        levels.append(np.rint(level).clip(0, 255).astype(np.uint8))
        if level.shape[1] == 4:
            return levels
        level = (
            level[:, 0::2, 0::2] + level[:, 0::2, 1::2] + level[:, 1::2, 0::2] + level[:, 1::2, 1::2]
        ) * 0.25


def write(root, images, name="toy", labels=None):
    """All files of a data set; returns the highest and, by resolution, the images of each level."""
    root.mkdir(exist_ok=True)
    levels = [np.stack(level) for level in zip(*map(levels_of, images), strict=True)]
    for level in levels:
        path = root / f"{name}-r{level.shape[-1].bit_length() - 1:02d}.tfrecords"
        path.write_bytes(b"".join(record(example(image)) for image in level))
    if labels is not None:
        np.save(root / "labels.npy", labels)
        (root / "labels.npy").rename(root / f"{name}-rxx.labels")
    return root / f"{name}-r{len(levels) + 1:02d}.tfrecords", {level.shape[-1]: level for level in levels}


def noise(count, channels, side):
    return RNG.integers(0, 256, (count, channels, side, side), np.uint8)


@pytest.fixture
def open_them(tmp_path, config):
    return lambda root, **changes: TfRecords.open(config(root, source="tfrecords", **changes), tmp_path)


def test_the_checksum_is_castagnolis():
    assert crc32c(b"123456789") == 0xE3069283
    for data in (b"", b"123456789", RNG.bytes(100)):
        assert masked_crc32c(data).to_bytes(4, "little") == masked(data)


def test_records_are_as_long_here_as_in_the_authors_files():
    """Of CIFAR-10's 50,000 images: 4.90, 12.35, 41.15 and 156.35 MB."""
    sizes = [len(record(example(noise(1, 3, side)[0]))) * 50_000 for side in (4, 8, 16, 32)]
    assert sizes == [4_900_000, 12_350_000, 41_150_000, 156_350_000]


@pytest.mark.parametrize("channels", [1, 3])
def test_only_the_highest_level_is_read(tmp_path, open_them, channels):
    top, levels = write(tmp_path / "t", noise(3, channels, 16))
    (tmp_path / "t" / "toy-r02.tfrecords").write_bytes(b"nobody looks")
    source = open_them(tmp_path / "t")
    assert (source.path, source.channels, source.classes) == (top, channels, ())
    assert [item.name for item in source.items] == ["00000000", "00000001", "00000002"]
    for item, image in zip(source.items, levels[16], strict=True):
        picture = source.load(item)
        np.testing.assert_array_equal(picture.pixels, image.transpose(1, 2, 0))
        assert item.label is None
        assert not picture.enlarged


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, bool])
def test_one_hot_rows_are_labels(tmp_path, open_them, dtype):
    write(tmp_path / "t", noise(4, 3, 8), labels=np.eye(3, dtype=dtype)[[2, 0, 1, 2]])
    source = open_them(tmp_path / "t")
    assert source.classes == ("0", "1", "2")
    assert [item.label for item in source.items] == [2, 0, 1, 2]


@pytest.mark.parametrize("columns", [0, 1])
def test_rows_of_a_single_class_are_not_labels(tmp_path, open_them, columns):
    write(tmp_path / "t", noise(2, 3, 8), labels=np.ones((2, columns), np.float32))
    source = open_them(tmp_path / "t")
    assert (source.classes, [item.label for item in source.items]) == ((), [None, None])


def test_the_build_makes_every_lower_level_as_the_authors_did(tmp_path, config):
    labels = RNG.integers(0, 4, 52)
    _, levels = write(tmp_path / "t", noise(52, 1, 16), labels=np.eye(4, dtype=np.float32)[labels])
    parameters = config(tmp_path / "t", source="tfrecords", resolution=16, seed=9)
    manifest = build(parameters, tmp_path / "out", workers=1)
    order = np.arange(52)
    np.random.RandomState(9).shuffle(order)
    assert sorted(levels) == list(manifest.resolutions) == [4, 8, 16]
    for resolution, images in levels.items():
        built, built_labels = load_images(tmp_path / "out", resolution)
        np.testing.assert_array_equal(built, images[order])
        np.testing.assert_array_equal(built_labels, labels[order])
    assert manifest.channels == 1
    assert [count.images for count in manifest.classes] == np.bincount(labels).tolist()


def test_a_resolution_below_the_files(tmp_path, config):
    _, levels = write(tmp_path / "t", noise(3, 3, 32))
    build(config(tmp_path / "t", source="tfrecords", resolution=8, seed=None), tmp_path / "out", workers=1)
    for resolution in (4, 8):
        np.testing.assert_array_equal(load_images(tmp_path / "out", resolution)[0], levels[resolution])


def test_a_resolution_above_the_files(tmp_path, open_them):
    write(tmp_path / "t", noise(1, 3, 8))
    with pytest.raises(
        InputError, match=r"dataset.resolution: 16: tfrecords has images of 8 px; use 8 or less"
    ):
        open_them(tmp_path / "t", resolution=16)


def spoilt_data(data):
    return data[:100] + bytes([data[100] ^ 1]) + data[101:]


def test_a_damaged_record_alone_is_unusable(tmp_path, open_them):
    top, levels = write(tmp_path / "t", noise(3, 3, 8))
    begin = len(record(example(levels[8][0])))
    data = top.read_bytes()
    other = record(example(noise(1, 1, 8)[0]))
    no_example = record(b"nothing like it")
    top.write_bytes(data[:begin] + spoilt_data(data[begin : 2 * begin]) + other + no_example + data[:begin])
    source = open_them(tmp_path / "t")
    for place, why in enumerate(
        ["its checksum is wrong", r"\(1, 8, 8\), that of others \(3", "no tf.train.Ex"], 1
    ):
        with pytest.raises(UnusableImage, match=why):
            source.load(source.items[place])
    np.testing.assert_array_equal(source.load(source.items[4]).pixels, levels[8][0].transpose(1, 2, 0))
    top.write_bytes(data[:begin])
    with pytest.raises(UnusableImage, match="its checksum is wrong"):
        source.load(source.items[4])


def spoil_length(data, record_bytes):
    return data[:record_bytes] + b"\xff" + data[record_bytes + 1 :]


def absurd_length(data, record_bytes):
    length = struct.pack("<Q", 2**62)
    return data[:record_bytes] + length + masked(length) + data[record_bytes + 12 :]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda data, size: data[: size + size // 2],
            r"record 1 \(at byte 2\d\d\): the file ends within it; fetch",
        ),
        (
            lambda data, size: data[: 2 * size + 5],
            r"record 2 \(at byte \d+\): the file ends within it; fetch the",
        ),
        (
            lambda data, size: data[: 2 * size - 1],
            r"record 1 \(at byte \d+\): the file ends within it; fetch the",
        ),
        (
            spoil_length,
            r"toy-r03.tfrecords: record 1 \(at byte \d+\): the checksum of its length is wrong; fetch",
        ),
        (absurd_length, r"record 1 \(at byte \d+\): the file ends within it; fetch the file again"),
        (lambda data, size: b"", r"toy-r03.tfrecords: is empty; fetch it again"),
        (
            lambda data, size: spoilt_data(data),
            r"the first record is damaged: its checksum is wrong; fetch the",
        ),
        (
            lambda data, size: record(b"\xff") + data,
            r"the first record is damaged: it is no tf\.train\.Example",
        ),
    ],
)
def test_a_damaged_file_is_one_clear_line(tmp_path, open_them, spoil, message):
    top, levels = write(tmp_path / "t", noise(3, 3, 8))
    top.write_bytes(spoil(top.read_bytes(), len(record(example(levels[8][0])))))
    with pytest.raises(InputError, match=message):
        open_them(tmp_path / "t")


@pytest.mark.parametrize("shape", [(3, 8, 16), (2, 8, 8), (4, 8, 8), (3, 12, 12), (3, 2, 2)])
def test_shapes_that_are_refused(tmp_path, open_them, shape):
    (tmp_path / "toy-r03.tfrecords").write_bytes(record(example(np.zeros(shape, np.uint8))))
    with pytest.raises(
        InputError, match=rf"toy-r03.tfrecords: holds images of shape \[{shape[0]}, .*; 1 or 3 "
    ):
        open_them(tmp_path)


def test_a_name_that_promises_another_resolution(tmp_path, open_them):
    top, _ = write(tmp_path / "t", noise(1, 3, 8))
    top.rename(tmp_path / "t" / "toy-r10.tfrecords")
    with pytest.raises(
        InputError, match=r"toy-r10.tfrecords: holds 8 px, not the 1024 px its name says; rename"
    ):
        open_them(tmp_path / "t")


def test_folders_that_are_refused(tmp_path, open_them):
    with pytest.raises(
        InputError, match=r"gone: no such folder; tfrecords reads no archives, unpack them first"
    ):
        open_them(tmp_path / "gone")
    (tmp_path / "t").mkdir()
    with pytest.raises(InputError, match=r"t: no files NAME-rNN\.tfrecords in it; check dataset\.path"):
        open_them(tmp_path / "t")
    write(tmp_path / "t", noise(1, 3, 8), name="cats")
    write(tmp_path / "t", noise(1, 3, 8), name="big-cats")
    with pytest.raises(
        InputError, match=r"t: several data sets \(big-cats, cats\); give each a folder of its own"
    ):
        open_them(tmp_path / "t")


def rows(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (rows([1, 0], [0, 1], [1, 0]), "has 3 rows for 2 images; fetch both files again"),
        (rows([1, 0], [1, 1]), r"row 1 is not one-hot \(a single 1, else 0\)"),
        (rows([0, 0], [1, 0]), "row 0 is not one-hot"),
        (rows([1, 0], [0.5, 0.5]), "row 1 is not one-hot"),
        (rows([1, 0, 0], [2, -1, 0]), "row 1 is not one-hot"),
        (rows([np.nan, 1], [1, 0]), "row 0 is not one-hot"),
        (rows(0, 1), r"numbers \[images, classes\] are expected, not float32 \(2,\)"),
        (np.array([["a", "b"]] * 2), r"numbers \[images, classes\] are expected, not <U1 \(2, 2\)"),
        (np.array([[{}, {}]] * 2), "not a NumPy array"),
    ],
)
def test_labels_that_are_refused(tmp_path, open_them, labels, message):
    write(tmp_path / "t", noise(2, 3, 8), labels=labels)
    with pytest.raises(InputError, match=rf"toy-rxx\.labels: {message}"):
        open_them(tmp_path / "t")


@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: b"text" * 9, lambda data: data[:-9]])
def test_labels_that_are_damaged(tmp_path, open_them, spoil):
    write(tmp_path / "t", noise(2, 3, 8), labels=np.eye(2))
    file = tmp_path / "t" / "toy-rxx.labels"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(InputError, match=r"toy-rxx\.labels: not a NumPy array \(.*\); fetch it again"):
        open_them(tmp_path / "t")


def test_the_identity_changes_with_records_and_labels(tmp_path, open_them):
    write(tmp_path / "t", noise(2, 3, 8))
    identities = {open_them(tmp_path / "t").identity, open_them(tmp_path / "t").identity}
    assert len(identities) == 1
    write(tmp_path / "t", noise(2, 3, 8), labels=np.eye(2))
    identities.add(open_them(tmp_path / "t").identity)
    write(tmp_path / "t", noise(2, 3, 8), labels=np.eye(2)[::-1])
    identities.add(open_them(tmp_path / "t").identity)
    assert len(identities) == 3


@pytest.mark.parametrize("packed", [True, False])
def test_an_example_may_hold_more_than_the_image(packed):
    image = noise(1, 3, 8)[0]
    floats = field(1, field(1, b"score") + field(2, field(2, field(1, struct.pack("<2f", 1, 2)))))
    whole = example(image, packed)
    extended = field(1, floats + whole[whole.index(b"\n", 1) :]) + b"\x49" + bytes(8) + b"\x55" + bytes(4)
    np.testing.assert_array_equal(parse_image(extended), image)


def test_invalid_sides():
    for shape in ((0, 4, 4), (0, 2**70 - 1, 1), (2**64 - 1, 4, 4), (3, 4), (3, 4, 4, 1)):
        fields = field(3, field(1, b"".join(map(varint, shape))))
        entries = field(1, b"shape") + field(2, fields), field(1, b"data") + field(2, field(1, field(1, b"")))
        with pytest.raises(ValueError, match="its data does not fill its shape"):
            parse_image(field(1, b"".join(field(1, entry) for entry in entries)))
