"""SVHN's source on a small file of the published structure, whose MD5 stands in for the published one."""

import numpy as np
import pytest
from scipy.io import savemat
from torchvision.datasets import SVHN

from progan.dataset.build import build
from progan.dataset.sources.svhn import open_svhn
from progan.errors import InputError


@pytest.fixture
def svhn(tmp_path, monkeypatch, md5_of):
    """55 images; returns the file, the images [N,32,32,3] and their digits."""
    rng = np.random.default_rng(6)
    images = rng.integers(0, 256, (55, 32, 32, 3), np.uint8)
    digits = rng.integers(0, 10, 55)
    file = tmp_path / "raw" / "train_32x32.mat"
    file.parent.mkdir()
    in_the_file = np.where(digits == 0, 10, digits).astype(np.uint8)[:, None]
    savemat(file, {"X": images.transpose(1, 2, 3, 0), "y": in_the_file}, do_compression=True)
    url, name, _ = SVHN.split_list["train"]
    monkeypatch.setitem(SVHN.split_list, "train", [url, name, md5_of(file)])
    return file, images, digits


def test_svhn(svhn, config, assert_built):
    file, images, digits = svhn
    manifest = assert_built(config(file.parent, source="svhn", resolution=32), images, digits)
    assert [count.name for count in manifest.classes] == [str(digit) for digit in range(10)]
    assert [count.images for count in manifest.classes] == np.bincount(digits).tolist()


def test_the_file_itself_suffices(svhn, tmp_path, config):
    file, images, _ = svhn
    source = open_svhn(config(file, source="svhn", resolution=32), tmp_path / "scratch")
    np.testing.assert_array_equal(source.load(source.items[54]).pixels, images[54])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda file: file.rename(file.with_name("test_32x32.mat")),
            r"raw: no train_32x32.mat in it; fetch http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
        ),
        (
            lambda file: file.write_bytes(file.read_bytes()[:-9]),
            r"raw/train_32x32.mat: its MD5 is [0-9a-f]{32}, the published one [0-9a-f]{32}; fetch http",
        ),
    ],
)
def test_a_spoilt_file_is_one_clear_line(svhn, tmp_path, config, spoil, message):
    file, _, _ = svhn
    spoil(file)
    with pytest.raises(InputError, match=message):
        build(config(file.parent, source="svhn", resolution=32), tmp_path / "out", workers=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]
