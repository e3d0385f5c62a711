"""The store on a real S3 server: as a folder is, and whole whatever happens on the way."""

import base64
import http.server
import os
import signal
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from components.object_store import open_store
from progan.errors import InputError, Unavailable
from progan.snapshots import SnapshotFolder

LARGE = np.random.default_rng(0).bytes(12 * 2**20)  # three parts


@pytest.fixture(params=["folder", "s3"])
def uri(request, tmp_path):
    """Where a store is, of either kind."""
    return str(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("address")


def test_contents_by_name(uri):
    store = open_store(uri)
    assert store.names("a") == []
    assert store.read("a/1") is None
    for name in ("a/2", "a/1", "ab/3"):
        store.write(name, name.encode())
    store.write("a/1", b"anew")
    assert store.names("a") == ["a/1", "a/2"]
    assert (store.read("a/1"), store.read("a/2"), store.read("ab/3")) == (b"anew", b"a/2", b"ab/3")
    for _ in range(2):
        store.delete("a/2")
    assert open_store(uri).names("a") == ["a/1"]


def test_files_come_whole_or_not_at_all(uri, tmp_path, impatient):
    store, here, there = open_store(uri), tmp_path / "here", tmp_path / "new/there"
    assert not store.download("a/large", there)
    assert not there.parent.exists() or not list(there.parent.iterdir())
    here.write_bytes(LARGE)
    store.upload("a/large", here)
    assert store.names("a") == ["a/large"]
    there.parent.mkdir(exist_ok=True)
    there.write_bytes(b"old")
    assert store.download("a/large", there)
    assert there.read_bytes() == store.read("a/large") == LARGE
    assert list(there.parent.iterdir()) == [there]


def test_snapshots(uri):
    store = open_store(uri)
    folder = SnapshotFolder(store, "r0008", "identity")
    assert folder.read() is None
    for images in (8, 16, 24):
        assert folder.write(images, {"weight": torch.full((3,), float(images))}, {"images_shown": images})
    older, newer = (name for name in store.names(folder.name) if name.endswith(".safetensors"))
    assert store.read(f"{folder.name}/LATEST").decode() == newer.removeprefix(f"{folder.name}/") + "\n"
    tensors, facts = folder.read()
    assert (tensors["weight"].tolist(), facts) == ([24.0] * 3, {"images_shown": 24})
    store.write(newer, store.read(older))
    assert folder.read()[1] == {"images_shown": 16}
    assert SnapshotFolder(store, "r0008", "other identity").read() is None


def test_the_server_has_checksums_if_botocore_is_to_send_them(
    address, bucket, storage, monkeypatch, impatient
):
    open_store(address).write("small", b"content")
    open_store(address).write("large", LARGE)
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    open_store(address).write("plain", b"content")
    assert open_store(address).read("large") == LARGE

    def seen(name):
        key = f"some/where/{name}"
        return storage.client().head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")

    crc = zlib.crc32(b"content").to_bytes(4, "big")
    assert base64.b64decode(seen("small")["ChecksumCRC32"]) == crc
    assert seen("large")["ETag"].endswith('-3"')  # it travelled in three parts
    assert "ChecksumCRC32" not in seen("plain")


MEMORY = """
import resource, sys
from pathlib import Path
from components.object_store import open_store, s3

s3.PART_BYTES = 5 * 2**20

def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

store, file = open_store(sys.argv[1]), Path(sys.argv[2])
store.names("a")
before = used()
store.upload("a/large", file)
store.download("a/large", file.with_name("there"))
print(used() - before)
"""


def test_files_do_not_lie_in_memory(address, tmp_path):
    size = 200 * 2**20
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size)
    command = [sys.executable, "-c", MEMORY, address, str(tmp_path / "large")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < size / 2
    assert (tmp_path / "there").stat().st_size == size


@pytest.mark.parametrize("size", [2**20, 12 * 2**20])
def test_damage_on_the_way_is_not_kept(proxy, address, impatient, size):
    proxy.damage_at = 100_000
    store = open_store(address)
    with pytest.raises(Unavailable, match=r"s3://bucket.*/some/where/new: answers \w+ .*, try again later"):
        store.write("new", LARGE[:size])
    proxy.pass_all()
    assert store.read("new") is None
    store.write("new", LARGE[:size])
    assert store.read("new") == LARGE[:size]


def test_a_download_that_was_cut_is_taken_up_again(proxy, address, impatient):
    store = open_store(address)
    store.write("large", LARGE)
    proxy.cut_after = 2**20
    assert store.read("large") == LARGE
    assert proxy.cut_after is None, "nothing was cut: nothing was tested"


WRITE = """
import sys
from components.object_store import open_store, s3

s3.PART_BYTES = 5 * 2**20
open_store(sys.argv[1]).write("a/large", b"new" * 4 * 2**20)
"""


def test_an_upload_in_parts_that_was_killed_leaves_the_old_and_nothing_to_pay_for(
    proxy, address, bucket, storage, impatient
):
    store = open_store(address)
    store.write("a/large", b"old")
    proxy.hold_after = 2**20
    process = subprocess.Popen([sys.executable, "-c", WRITE, address])
    assert proxy.held.wait(60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    proxy.pass_all()
    uploads = storage.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert [upload["Key"] for upload in uploads] == ["some/where/a/large"]
    assert store.read("a/large") == b"old"
    store.discard_unfinished("b")
    assert "Uploads" in storage.client().list_multipart_uploads(Bucket=bucket)
    store.discard_unfinished("a")
    assert "Uploads" not in storage.client().list_multipart_uploads(Bucket=bucket)
    assert store.read("a/large") == b"old"


def test_two_trainers_of_one_identity_do_no_harm(address):
    """One is behind: it points LATEST at its own, removes what is older, and both can be gone on from."""
    stores = [open_store(address) for _ in range(2)]
    ahead, behind = (SnapshotFolder(store, "r0008", "identity") for store in stores)
    with stores[0].alone(ahead.name, "is training r0008"), stores[1].alone(ahead.name, "is training r0008"):
        for images in (24, 32):
            ahead.write(images, {"weight": torch.ones(1)}, {"images_shown": images})
        for images in (8, 16):
            behind.write(images, {"weight": torch.ones(1)}, {"images_shown": images})
            assert ahead.read()[1] == behind.read()[1] == {"images_shown": 32}


def test_a_server_that_is_away(address, impatient, stopped):
    for act in (
        lambda store: store.names("a"),
        lambda store: store.read("a/1"),
        lambda store: store.write("a/1", b""),
        lambda store: store.write("a/1", LARGE),
        lambda store: store.upload("a/1", Path(__file__)),
        lambda store: store.download("a/1", Path("nowhere")),
        lambda store: store.delete("a/1"),
        lambda store: store.discard_unfinished("a"),
    ):
        with pytest.raises(Unavailable, match=r"/some/where/a\S*: does not answer, try again later \(Could"):
            act(open_store(address))


def test_a_server_that_is_away_for_a_moment(address, impatient, stopped):
    store = open_store(address)
    store.client.meta.events.register(
        "needs-retry.s3.PutObject", lambda attempts, **_: attempts == 1 and stopped.start()
    )
    store.write("a/1", b"content")
    assert store.read("a/1") == b"content"


def without(monkeypatch, *names):
    for name in names:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)


def test_what_only_the_user_can_mend(address, bucket, monkeypatch):
    with pytest.raises(InputError, match=r"s3://nobodys/a: NoSuchBucket \(.+\); create the bucket"):
        open_store("s3://nobodys").read("a")
    with pytest.raises(InputError, match="s3:///a: names no bucket; write s3://bucket/prefix"):
        open_store("s3:///a")
    with pytest.raises(InputError, match="s3://no_bücket/a: no address of an object"):
        open_store("s3://no_bücket").names("a")
    with pytest.raises(InputError, match="gs://bucket: neither a folder's path nor an s3:// address"):
        open_store("gs://bucket")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(InputError, match=r"SignatureDoesNotMatch \(.+\); check AWS_SECRET_ACCESS_KEY"):
        open_store(address).names("a")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    with pytest.raises(InputError, match="; check AWS_ACCESS_KEY_ID"):
        open_store(address).names("a")
    without(monkeypatch, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    with pytest.raises(InputError, match="no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        open_store(address).names("a")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "nowhere")
    with pytest.raises(InputError, match="Invalid endpoint: nowhere; check the AWS_ variables"):
        open_store(address)


class Refusing(http.server.BaseHTTPRequestHandler):
    """An S3 server that refuses everything with the `code`, `status` and `message` of its server; with
    `checksums` alone, requests that carry a checksum."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        refusal, headers = self.server.refusal, [name.lower() for name in self.headers]
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        refused = not refusal.get("checksums") or any("checksum" in name for name in headers)
        text = "<Error><Code>{code}</Code><Message>{message}</Message></Error>".format(**refusal)
        body = text.encode() if refused and self.command != "HEAD" else b""
        self.send_response(refusal["status"] if refused else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_HEAD = answer

    def log_message(self, *arguments):
        pass


@pytest.fixture
def refusing(monkeypatch):
    """Returns a function that says how the S3 server of this test refuses."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield lambda **refusal: setattr(server, "refusal", {"message": "says S3", **refusal})
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (400, "ExpiredToken", "sign in again"),
        (403, "RequestTimeTooSkewed", "set this machine's clock"),
        (507, "XMinioStorageFull", "make room in the store"),
        (418, "NeverHeardOf", "check the address, the credentials and the store"),
    ],
)
def test_a_refusal_is_told_in_the_words_of_s3(refusing, impatient, status, code, hint):
    """Even of a download, which begins with a HEAD, whose answer has no words."""
    refusing(status=status, code=code)
    store = open_store("s3://bucket/at")
    for act in (
        lambda: store.write("a", b"x"),
        lambda: store.upload("a", Path(__file__)),
        lambda: store.read("a"),
        lambda: store.names("a"),
    ):
        with pytest.raises(InputError, match=rf"s3://bucket/at/a: {code} \(says S3\); {hint}"):
            act()


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (400, "RequestTimeout")])
def test_an_answer_that_may_change_is_worth_another_try(refusing, impatient, status, code):
    refusing(status=status, code=code)
    with pytest.raises(Unavailable, match=rf"s3://bucket/at/a: answers {code} \(says S3\), try again later"):
        open_store("s3://bucket/at").names("a")


def test_a_store_without_checksums_has_a_way_out(refusing, impatient, monkeypatch):
    refusing(status=501, code="NotImplemented", checksums=True)
    with pytest.raises(InputError, match="set AWS_REQUEST_CHECKSUM_CALCULATION=when_required") as refusal:
        open_store("s3://bucket/at").write("a", b"x")
    monkeypatch.setenv(*str(refusal.value).rpartition("set ")[2].split("="))
    open_store("s3://bucket/at").write("a", b"x")
