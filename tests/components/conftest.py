"""What takes seconds: an empty registry is made once, and the SWD is measured in few directions."""

import shutil

import pytest

from components.tracking.client import client
from progan.metrics import swd


@pytest.fixture(autouse=True)
def few_directions(monkeypatch):
    monkeypatch.setattr(swd, "DIRECTIONS", swd.DIRECTIONS_AT_ONCE)


@pytest.fixture(scope="session")
def _empty_registry(tmp_path_factory):
    file = tmp_path_factory.mktemp("empty-registry") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
        client()
    return file


@pytest.fixture
def registry(tmp_path, monkeypatch, _empty_registry):
    """The address of an empty registry in mlflow.db of the test's folder, in MLFLOW_TRACKING_URI."""
    shutil.copy(_empty_registry, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
