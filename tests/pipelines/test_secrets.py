"""No artefact of a run holds a secret that the run was given."""

import secrets
import sys
from pathlib import Path

import pytest

from tests.conftest import IMAGE
from tests.servers import Server, free_port
from tests.signers import person

USER = "ann"


@pytest.fixture
def server(tmp_path):
    """MLflow's server, with its database and artifacts in a folder."""
    folder = tmp_path / "server"
    folder.mkdir()
    port = str(free_port())
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", folder]
    server = Server(
        command,
        f"http://127.0.0.1:{port}",
        "/health",
        folder / "log",
        {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )
    server.start()
    yield server
    server.stop()


def holding(folder, secret):
    """The files below `folder` that have a secret in them."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return [str(file) for file in files if secret.encode() in file.read_bytes()]


@pytest.mark.slow
def test_a_run_leaves_no_secret_anywhere(new_project, server, storage, address, tmp_path, monkeypatch):
    """In the project with DVC's cache, the compiled pipeline, the output, the registry or the snapshots."""
    passwords = {
        name: secrets.token_hex() for name in ("url", "MLFLOW_TRACKING_PASSWORD", "PROGAN_FORGE_TOKEN")
    }
    signer = person("release", tmp_path, passphrase := secrets.token_hex())
    signer.signs(monkeypatch, passphrase)
    signer.trusted(monkeypatch)
    for name in ("MLFLOW_TRACKING_PASSWORD", "PROGAN_FORGE_TOKEN"):
        monkeypatch.setenv(name, passwords[name])
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("PROGAN_SNAPSHOTS", address)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project = new_project()
    registry = server.url.replace("//", f"//{USER}:{passwords['url']}@")
    project = type(project)(project.root, registry)
    compiled = project.root / "pipeline.yaml"
    commands = [
        ("dvc", "repro"),
        ("progan", "summary"),
        ("progan", "promote", "1", "--expect", "none"),
        ("progan", "generate", "models:/progan-toy-celeba@champion", "--out", "faces.png"),
        ("progan", "compile", "--image", IMAGE, "--out", compiled),
    ]
    done = [project.run(*command) for command in commands]
    assert [process.returncode for process in done] == [0] * len(done), [each.stderr for each in done]
    server.stop()
    done.append(project.run("progan", "promote", "1", "--expect", "none"))
    assert done[-1].returncode == 75
    key = "".join(signer.key.read_text().splitlines()[1:-1])
    given = {
        **passwords,
        "passphrase": passphrase,
        "AWS_SECRET_ACCESS_KEY": storage.environment["AWS_SECRET_ACCESS_KEY"],
        "signing key": key[64:128],
    }
    signer.key.unlink()
    buckets = Path(storage.server.command[-1])
    assert list(buckets.rglob("LATEST"))
    assert str(compiled) in holding(tmp_path, IMAGE)
    for name, secret in given.items():
        for folder in (tmp_path, buckets):
            assert holding(folder, secret) == [], name
        assert [each.args for each in done if secret in each.stdout + each.stderr] == [], name
