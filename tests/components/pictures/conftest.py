"""A conditional and an unconditional generator of 16 px in checkpoint folders."""

from dataclasses import replace

import pytest

from tests.checkpoints import write_made_checkpoint


@pytest.fixture
def plain(tmp_path, monkeypatch, small_config):
    """The generator in checkpoints/r0016 of an otherwise empty project."""
    monkeypatch.chdir(tmp_path)
    return write_made_checkpoint(tmp_path / "checkpoints/r0016", small_config.network, 16)


@pytest.fixture
def conditional(tmp_path, monkeypatch, small_config):
    """The generator in classes/r0016, of cats and dogs."""
    monkeypatch.chdir(tmp_path)
    network = replace(small_config.network, label_size=2)
    return write_made_checkpoint(tmp_path / "classes/r0016", network, 16, ["cats", "dogs"])
