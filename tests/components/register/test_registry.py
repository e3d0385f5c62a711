"""A registry that does not answer: one line, soon, and whether trying again can help."""

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from components.register.registry import find_champion
from components.tracking import client as tracking_client
from components.tracking import runs as tracking_runs
from components.tracking.client import clear_errors, client, experiment_of, tracking_uri
from components.tracking.runs import find_or_create_run
from progan.errors import InputError, Unavailable
from tests.commands import at_once
from tests.pipelines.http_server import serving


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Returns a function that asks the registry at an address and returns the error's message."""
    monkeypatch.chdir(tmp_path)

    def ask(address, kind):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(kind) as caught:
            find_champion("faces")
        assert type(caught.value) is kind
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)
        return str(caught.value)

    return ask


def test_a_closed_port_is_reported_in_seconds(refused):
    import mlflow  # noqa: F401  takes seconds by itself

    started = time.monotonic()
    message = refused("http://me:secret@127.0.0.1:9", Unavailable)
    assert message == (
        "http://127.0.0.1:9: no MLflow server answers ([Errno 111] Connection refused); "
        "start it, or correct MLFLOW_TRACKING_URI"
    )
    assert time.monotonic() - started < 30  # MLflow's own patience is four minutes


def test_a_host_that_drops_packets_is_reported_in_seconds(refused, monkeypatch):
    """For example one behind a VPN."""
    monkeypatch.setattr(tracking_client, "PROBE_TIMEOUTS", (0.2, 60.0))
    with socket.socket() as full, socket.socket() as one, socket.socket() as another:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (one, another):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        message = refused(f"http://127.0.0.1:{full.getsockname()[1]}", Unavailable)
    assert "no MLflow server answers (timed out); start it" in message


def test_a_server_that_stops_later_is_retried_by_mlflow(refused, monkeypatch):
    with serving({}) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        client()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    message = refused(server.url, Unavailable)
    assert message.startswith(f"faces: API request to {server.url}/api")
    assert message.endswith(f"; the registry is {server.url} (MLFLOW_TRACKING_URI)")


def test_a_refusal_is_not_worth_a_retry(refused):
    with serving({}) as server:
        assert "faces: INTERNAL_ERROR: not found; the registry is" in refused(server.url, InputError)
    assert "maintenance mode" in refused("mlruns", InputError)
    assert "Invalid url" in refused("http://:5000", InputError)


# ------------------------------------------------------------------------------------------------
# Where the registry lies


def test_an_empty_address_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking_uri() == "sqlite:///mlflow.db"


def test_an_experiment_in_a_copy_uses_the_project_s_registry(tmp_path, monkeypatch):
    """`dvc exp run --temp` and `--queue` delete the copy at its end."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for folder in ("standalone/tmp1", "tmp2"):
        copy = tmp_path / ".dvc/tmp/exps" / folder
        copy.mkdir(parents=True)
        monkeypatch.chdir(copy)
        assert tracking_uri() == f"sqlite:///{tmp_path / 'mlflow.db'}"
    registry = client()
    experiment = registry.get_experiment(experiment_of(registry, "faces"))
    assert (tmp_path / "mlflow.db").exists()
    assert experiment.artifact_location == (tmp_path / "mlruns/faces").as_uri()
    assert list(copy.iterdir()) == []


DELETED_AND_MOVED = """
from components.tracking.client import client, experiment_of
from progan.errors import InputError

def refusal(registry):
    try:
        return experiment_of(registry, "faces")
    except InputError as error:
        return str(error)

os.environ.pop("MLFLOW_TRACKING_URI", None)
registry = client()
experiment = experiment_of(registry, "faces")
again = refusal(registry)
registry.delete_experiment(experiment)
deleted = refusal(registry)
registry.restore_experiment(experiment)
os.rename("../project", "../elsewhere")
os.chdir("../elsewhere")
told.put([experiment, again, deleted, refusal(client())])
"""


def test_a_deleted_experiment_and_a_moved_project_are_one_line(tmp_path):
    """In a process of its own: MLflow keeps the store of the default address, wherever it was first used."""
    (tmp_path / "project").mkdir()
    [[answers]] = at_once(DELETED_AND_MOVED, {"root": tmp_path / "project"})
    experiment, again, deleted, moved = answers
    assert again == experiment
    assert re.search(f"deleted; .* mlflow experiments restore --experiment-id {experiment}", deleted)
    assert re.match(r"mlflow.db: was moved or copied here, and would write runs into .*/project/", moved)


def test_two_processes_on_a_fresh_sqlite_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    at_once("import mlflow; from components.tracking.client import client; wait(); client()", {}, {})


def test_a_disk_that_fills_leaves_no_unfinished_registry(tmp_path, monkeypatch):
    """MLflow cannot use tables of which some are missing. SQLite can be told that the disk is small."""
    from sqlalchemy import Engine, event

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def shrink(connection, _):
        connection.execute("PRAGMA max_page_count = 60")

    tracking_client._create_tables.cache_clear()
    event.listen(Engine, "connect", shrink)
    try:
        with (
            pytest.raises(InputError, match=r"^faces: no space left for sqlite:///mlflow.db; free some and"),
            clear_errors("faces"),
        ):
            client()
    finally:
        event.remove(Engine, "connect", shrink)
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.usefixtures("registry")
def test_of_runs_that_are_created_at_once_one_remains(monkeypatch):
    registry = client()
    experiment, created = registry.create_experiment("faces"), Barrier(3)

    class AtOnce:
        """A client whose runs appear together with those of the others."""

        search_runs, delete_run = registry.search_runs, registry.delete_run

        def create_run(self, *arguments):
            created.wait(30)
            run = registry.create_run(*arguments)
            created.wait(30)
            return run

    monkeypatch.setattr(tracking_runs, "GIVE_WAY_SECONDS", 1.0)
    with ThreadPoolExecutor(3) as pool:
        runs = list(
            pool.map(lambda _: find_or_create_run(AtOnce(), experiment, {"a": "b"}, "run", {}), range(3))
        )
    (left,) = registry.search_runs([experiment])
    assert {run.info.run_id for run in runs} == {left.info.run_id}
