"""An empty registry, and few directions for the SWD, which would take seconds."""

import shutil

import pytest

from progan.metrics import swd


@pytest.fixture(autouse=True)
def few_directions(monkeypatch):
    monkeypatch.setattr(swd, "DIRECTIONS", swd.DIRECTIONS_AT_ONCE)


@pytest.fixture
def registry(tmp_path, monkeypatch, empty_registry):
    """The address of an empty registry in mlflow.db of the test's folder, in MLFLOW_TRACKING_URI."""
    shutil.copy(empty_registry, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
