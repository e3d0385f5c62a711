"""A place in a real S3 server's bucket, and the wire to it."""

import pytest

from components.object_store import s3
from tests.components.object_store.proxy import Proxy


@pytest.fixture
def proxy(address, storage, monkeypatch):
    """The wire to the S3 server; whoever opens a store from now on goes through it."""
    host, port = storage.server.url.removeprefix("http://").split(":")
    wire = Proxy((host, int(port)))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", wire.url)
    yield wire
    wire.close()


@pytest.fixture
def impatient(monkeypatch):
    """Two attempts, a second apart at most, short waits for an answer, the smallest parts that S3 takes."""
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    monkeypatch.setattr(s3, "ANSWER_SECONDS", 5)
    monkeypatch.setattr(s3, "PART_BYTES", 5 * 2**20)


@pytest.fixture
def stopped(address, storage):
    """The server behind `address`, killed."""
    kill(storage.server)
    return storage.server


def kill(server):
    server.process.kill()
    server.process.wait()
