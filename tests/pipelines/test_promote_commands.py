"""`progan promote` and `progan rollback`."""

import json
import shutil

import pytest
import yaml
from typer.testing import CliRunner

from components.tracking.client import client
from pipelines.cli import app
from progan.errors import InputError


@pytest.fixture(scope="module")
def registry(tmp_path_factory, empty_registry):
    """The address of a registry with two versions that passed, of a model called "faces"."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(empty_registry, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        mlflow_client = client()
        experiment = mlflow_client.create_experiment("faces", artifact_location=str(folder))
        mlflow_client.create_registered_model("faces")
        for _ in range(2):
            run = mlflow_client.create_run(experiment).info
            mlflow_client.create_model_version(
                "faces", f"{run.artifact_uri}/x", run.run_id, {"gate": "passed"}
            )
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture
def progan(registry, tmp_path, monkeypatch, small_params):
    """Returns a function that runs a command and returns its output."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    monkeypatch.chdir(tmp_path)
    small_params["register"]["model"] = "faces"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(small_params))

    def progan(*arguments):
        done = CliRunner().invoke(app, arguments)
        if isinstance(done.exception, InputError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    return progan


def test_there_and_back(progan):
    output = progan("promote", "1", "--expect", "none")
    assert output == "faces: version 1 is now champion, before: none\n"
    done = json.loads(progan("promote", "2", "--expect", "1", "--why", "sharper", "--json"))
    assert {name: done[name] for name in ("model", "version", "before", "why")} == {
        "model": "faces",
        "version": "2",
        "before": "1",
        "why": "sharper",
    }
    assert (
        progan("rollback", "--expect", "2", "--why", "odd ears")
        == "faces: version 1 is now champion, before: 2\n"
    )
    with pytest.raises(InputError, match="faces: the champion is 1, not 2 as expected"):
        progan("rollback", "--expect", "2")
    for wrong, message in {
        "v2": "VERSION: v2: expected a version number",
        "9": "no version 9",
    }.items():
        with pytest.raises(InputError, match=message):
            progan("promote", wrong, "--expect", "1")
    with pytest.raises(InputError, match="--expect: one: expected a version number"):
        progan("promote", "2", "--expect", "one")
