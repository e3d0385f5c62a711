"""The summary of `make run`: what the registry says now, and no password."""

from pathlib import Path

import pytest

from components.register.registration import Registration
from components.report.summary import _how_to_open, summary
from components.tracking.client import client
from pipelines.planning.here import registry_remarks
from tests import made_up
from tests.evaluations import EVALUATION, verdict

PATHS = {name: Path(name) for name in ("verdict", "registration", "report", "samples")}


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


def test_the_registry_is_asked(tmp_path, monkeypatch, registry):
    monkeypatch.chdir(tmp_path)

    def registered(version, passed=True):
        verdict(EVALUATION, passed).write(Path("verdict"))
        Registration("faces", version, "abc").write(Path("registration"))
        values = summary(PATHS)
        return values["registered"], values["up_to_date"]

    assert registered("1") == ("faces version 1 is not in the registry", False)
    assert registered(None, passed=False) == ("nothing: the gate failed", True)
    mlflow_client = client()
    mlflow_client.create_registered_model("faces")
    tags = {"identity": EVALUATION.identity, "gate": "passed"}
    mlflow_client.create_model_version("faces", str(tmp_path), tags=tags)
    assert registered("1") == ("faces version 1, no alias", True)
    assert registered("2") == ("faces version 1, no alias", False)
    for alias in ("candidate", "champion"):
        mlflow_client.set_registered_model_alias("faces", alias, "1")
    assert registered("1") == ("faces version 1, alias candidate, champion", True)
    assert registered(None, passed=False) == ("faces version 1, alias candidate, champion", False)
    mlflow_client.delete_model_version("faces", "1")
    assert registered("1") == ("faces version 1 is not in the registry", False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    text, up_to_date = registered("1")
    assert text.startswith("unknown: http://127.0.0.1:9: no MLflow server answers")
    assert up_to_date
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    Path("mlflow.db").unlink()
    assert registered("1")[1] is False
    assert not Path("mlflow.db").exists()


def test_the_plan_says_what_make_run_registers_again(tmp_path, monkeypatch, small_config, registry):
    monkeypatch.chdir(tmp_path)
    assert registry_remarks(small_config) == []
    made_up.judgement(small_config, "r0016", "c" * 64, passed=False)
    assert registry_remarks(small_config) == []
    made_up.judgement(small_config, "r0016", "c" * 64)
    model = small_config.register.model
    assert registry_remarks(small_config) == [
        f"registry: {model} version 3 is not in the registry; make run registers again"
    ]
