"""An empty registry, made once: creating MLflow's tables takes seconds."""

import shutil

import pytest

from components.tracking.client import client


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
