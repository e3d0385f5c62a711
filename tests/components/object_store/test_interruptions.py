"""Snapshots go to a real S3 server: a trainer killed and cut off ends in the bits of an undisturbed one."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from components import stages
from components.object_store import open_store
from components.object_store.dataset import upload_dataset
from components.receipts import identity_here
from components.train import stage
from progan import config
from progan.dataset.build import build
from progan.dataset.reader import load_manifest
from progan.errors import Unavailable
from progan.store import FolderStore
from tests.components.object_store.conftest import kill

TRAIN = """
import sys
from components.object_store import s3
from pipelines.cli import main
from progan import snapshots

snapshots.INTERVAL_SECONDS, snapshots.COPYING, snapshots.WRITING = 0.0, 1e9, 1e9  # as many as possible
s3.ATTEMPTS, s3.ANSWER_SECONDS = 2, 5
sys.argv[0] = "progan"
main()
"""
UPLOAD_BYTES = 40_000  # a snapshot has more, all else that is sent, such as pictures, has less


@pytest.fixture
def project(request, tmp_path, small_params, photographs, monkeypatch):
    """The current folder becomes one with a dataset and a finished r0004; the parameter is r0008's fade, in
    kimg: long enough for it not to end while it is cut off."""
    monkeypatch.chdir(tmp_path)
    small_params["dataset"] |= {"source": "folder", "path": str(photographs), "label_attributes": []}
    small_params["dataset"]["resolution"] = 8
    small_params["phases"]["r0008"] |= {"fade_kimg": getattr(request, "param", 2.0), "stable_kimg": 0.1}
    del small_params["phases"]["r0016"]
    Path("params.yaml").write_text(yaml.safe_dump(small_params))
    loaded = config.load()
    build(loaded.dataset, Path("data/multires"), workers=1)
    train_phase("r0004", FolderStore(Path("own")), Path("checkpoints/r0004"))


def train_phase(key, snapshots, out):
    init = Path("checkpoints/r0004") if key == "r0008" else None
    files, loaded = (snapshots, out, Path(f"{key}.csv"), Path(f"{key} grids")), config.load()
    task = stages.task(loaded, "train", key)
    identity = identity_here(loaded, task, task.paths())
    stage.train(loaded, key, identity, Path("data/multires"), init, *files)


@pytest.fixture
def undisturbed(project):
    """The folder of r0008 as it is to become."""
    train_phase("r0008", FolderStore(Path("own")), Path("undisturbed"))
    return Path("undisturbed")


class Trainer:
    """`progan train r0008` in a process, whose snapshots go to `address`."""

    def __init__(self, address, *options):
        command = [sys.executable, "-c", TRAIN, "train", "r0008", f"--snapshots={address}", *options]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def wait_for(self, words):
        """Read what it says up to a line with `words`."""
        said = []
        for line in self.process.stderr:
            said.append(line)
            if words in line:
                return line
        pytest.fail(f"it ended ({self.process.wait()}) and never said {words!r}:\n{''.join(said)}")

    def kill(self):
        assert self.process.poll() is None, f"it ended before it was killed:\n{self.process.stderr.read()}"
        self.process.kill()
        self.process.wait()

    def end(self):
        """Its exit code and what it said since it was last listened to."""
        return self.process.wait(), self.process.stderr.read()


class Snapshots:
    """What lies in the bucket."""

    def __init__(self, client, bucket):
        self.client, self.bucket = client, bucket

    def names(self):
        entries = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [entry["Key"].split("/")[-1] for entry in entries if entry["Key"].endswith(".safetensors")]

    def newest(self):
        """The images shown by the newest, or 0."""
        return max((int(name.split("-")[0]) for name in self.names()), default=0)

    def wait_for_more(self, than):
        deadline = time.monotonic() + 60
        while self.newest() <= than and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.newest() > than, "no snapshot came"


@pytest.fixture
def snapshots(storage, bucket):
    return Snapshots(storage.client(), bucket)


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow  # test_s3.py has a server that is away, test_training.py snapshots that cannot be written
def test_killed_during_an_upload_and_cut_off_from_the_server(
    undisturbed, address, proxy, snapshots, storage, impatient, monkeypatch
):
    trainer = Trainer(address)
    snapshots.wait_for_more(than=0)
    proxy.hold_after = UPLOAD_BYTES
    assert proxy.held.wait(60)
    before = snapshots.names()
    trainer.kill()
    proxy.pass_all()
    assert snapshots.names() == before

    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    upload_dataset(Path("data/multires"), f"{address}/data")
    digest, seen = load_manifest(Path("data/multires")).digest, snapshots.newest()
    trainer = Trainer(address, f"--dataset={address}/data", f"--dataset-digest={digest}")
    snapshots.wait_for_more(than=seen)
    kill(storage.server)
    assert "does not answer" in trainer.wait_for("training goes on without this snapshot")
    with pytest.raises(Unavailable, match="does not answer, try again later"):
        train_phase("r0008", open_store(address), Path("checkpoints/r0008"))
    storage.server.start()
    snapshots.wait_for_more(than=snapshots.newest())
    kill(storage.server)
    trainer.wait_for("training goes on without this snapshot")
    trainer.process.send_signal(signal.SIGTERM)
    code, output = trainer.end()
    assert code == 75
    assert re.search(r"r0008: stopped at \d+ images, the previous snapshot remains", output)
    assert not Path("checkpoints/r0008").exists()

    storage.server.start()
    train_phase("r0008", open_store(address), Path("checkpoints/r0008"))
    assert bytes_of(Path("checkpoints/r0008")) == bytes_of(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("project", [8.0], indirect=True)
def test_killed_and_cut_off_at_random_moments(undisturbed, address, proxy, snapshots, storage):
    moments = random.Random(0)
    for _ in range(10):
        trainer, seen = Trainer(address), snapshots.newest()
        snapshots.wait_for_more(than=seen)
        act = moments.choice(["kill", "hold", "server", "damage", "stop"])
        if act == "stop":
            trainer.process.send_signal(signal.SIGTERM)
            code, said = trainer.end()
            stopped_at = re.search(
                r"r0008: stopped at (\d+) images, state saved; run again to go on\n", said
            )[1]
            assert (code, snapshots.newest()) == (75, int(stopped_at))
        elif act == "hold":
            proxy.hold_after = moments.randrange(UPLOAD_BYTES)
            assert proxy.held.wait(60)
        elif act == "damage":
            proxy.damage_at = moments.randrange(3000, UPLOAD_BYTES)
            trainer.wait_for("training goes on without this snapshot")
        elif act == "server":
            kill(storage.server)
            trainer.wait_for("training goes on without this snapshot")
        if act != "stop":
            trainer.kill()
        proxy.pass_all()
        if act == "server":
            storage.server.start()
    assert Trainer(address).end()[0] == 0
    assert bytes_of(Path("checkpoints/r0008")) == bytes_of(undisturbed)
