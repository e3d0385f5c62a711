"""The test that all sources of a fixed size share."""

import hashlib
import pickle

import numpy as np
import pytest

from progan.dataset.build import build
from progan.dataset.reader import load_images
from progan.dataset.sources.by_name import open_source


@pytest.fixture
def assert_built(tmp_path):
    """Build and compare with whole images uint8 [N,S,S,C] in the source's order."""

    def check(config, tops, labels):
        sent = pickle.loads(pickle.dumps(open_source(config, tmp_path / "scratch")))  # as to a worker
        np.testing.assert_array_equal(sent.load(sent.items[1]).pixels, tops[1])
        manifest = build(config, tmp_path / "out", workers=1)
        order = np.arange(len(tops))
        if config.seed is not None:
            np.random.RandomState(config.seed).shuffle(order)
        order = order[: config.max_images]
        for resolution in config.resolutions:
            images, built_labels = load_images(tmp_path / "out", resolution)
            side, size = tops.shape[1], tops.shape[1] // resolution
            blocks = tops[order].reshape(-1, side // size, size, side // size, size, tops.shape[-1])
            expected = np.rint(blocks.mean(axis=(2, 4), dtype=np.float64))
            np.testing.assert_array_equal(images.transpose(0, 2, 3, 1), expected)
            assert built_labels.tolist() == np.asarray(labels)[order].tolist()
        assert sorted(path.name for path in tmp_path.glob(".*")) == []
        return manifest

    return check


@pytest.fixture
def md5_of():
    return lambda path: hashlib.md5(path.read_bytes()).hexdigest()
