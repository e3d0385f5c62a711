"""The summary of `make run` shows no password."""

import pytest

from components.report.summary import _how_to_open


@pytest.mark.parametrize(
    ("uri", "opening"),
    [
        ("sqlite:///mlflow.db", ".venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db"),
        ("https://me:secret@mlflow.example.org:5000/x", "https://mlflow.example.org:5000/x"),
        (
            "postgresql://me:secret@db/mlflow",
            '.venv/bin/mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"',
        ),
    ],
)
def test_how_to_open_the_registry(uri, opening):
    assert _how_to_open(uri) == opening
