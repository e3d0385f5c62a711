"""A registry that does not answer: one line, soon, and whether trying again can help."""

import socket
import time

import pytest

from components.register import mlflow_registry
from components.register.mlflow_registry import client, find_champion
from progan.errors import InputError, Unavailable
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
    monkeypatch.setattr(mlflow_registry, "PROBE_TIMEOUTS", (0.2, 60.0))
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
