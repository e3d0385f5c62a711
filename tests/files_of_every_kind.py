"""The kinds of file that are read: how each is written, how it is read, and what of it is protected."""

import json
import pickle
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from ci.__main__ import number_to_do
from ci.bring_home import Collected
from components import stages
from components.evaluate.evaluation import Evaluation
from components.gate.verdict import Verdict
from components.receipts import Receipt, Workspace
from components.register.registration import Registration
from components.run_record import RunRecord
from components.train.live_state import LiveState, read_record
from pipelines.profile import load_profile
from progan import config
from progan.checkpoints import read_checkpoint
from progan.dataset import chunks
from progan.dataset.build import build
from progan.dataset.manifest import Level, Manifest, Shard
from progan.dataset.png import encode_png
from progan.dataset.reader import first_images, load_images, load_manifest
from progan.dataset.sources import archives
from progan.dataset.sources.by_name import open_source
from progan.dataset.sources.labels import listed_classes
from progan.dataset.sources.source import UnusableImage
from progan.errors import InputError
from progan.files import read_bytes, write_json
from progan.history import History
from progan.metrics import classifier
from progan.official.unpickling import array_of, read_pickle
from progan.snapshots import SnapshotFolder
from progan.store import FolderStore
from progan.validation import sealed
from tests.checkpoints import write_made_checkpoint
from tests.conftest import IMAGE, shrunk_params
from tests.evaluations import EVALUATION, verdict
from tests.histories import BEGIN, history
from tests.mutations import as_json, as_yaml
from tests.progan.dataset.sources.test_archives import write_kind
from tests.signers import person

ROOT = Path(__file__).parents[1]


def write_params(folder):
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(shrunk_params()))
    return file


def write_profile(folder):
    file = folder / "cluster.yaml"
    file.write_bytes((ROOT / "infra/cluster.yaml").read_bytes())
    return file


def write_profile_with_signers(folder):
    values = yaml.safe_load((ROOT / "infra/cluster.yaml").read_bytes())
    identity = {"subject": "https://example.org/train.yml", "issuer": "https://example.org"}
    keys = {"release": person("release", folder).public}
    values |= {"attested": True, "queue": "gpu", "signatures": {"keys": keys, "identities": [identity]}}
    (folder / "cluster.yaml").write_bytes(as_yaml(values))
    return folder / "cluster.yaml"


def read_profile(file):
    """The profile, whose amounts can be reckoned with."""
    profile = load_profile(file, IMAGE)
    assert all(0 < pod.timeout_seconds < pod.retry_window_seconds < 2**33 for pod in profile.pods.values())
    return profile


def printed(value):
    """What a command prints for a job of the forge."""

    def write(folder):
        write_json(folder / "printed.json", value)
        return folder / "printed.json"

    return write


def contract(value):
    def write(folder):
        value.write(folder / "value.json")
        return folder / "value.json"

    return write


def write_checkpoint_facts(folder):
    write_made_checkpoint(folder / "r0004", config.parse(shrunk_params(), "params.yaml").network, 4)
    return folder / "r0004/checkpoint.json"


def write_networks(folder):
    return write_checkpoint_facts(folder).with_name("networks.safetensors")


def read_networks(file):
    networks = read_checkpoint(file.parent).networks("ema")
    return {name: tensor.numpy().tobytes() for name, tensor in networks.items()}


def write_receipt(folder):
    task = stages.task(config.parse(shrunk_params(), "params.yaml"), "train", "r0004")
    file = folder / str(task.receipt)
    file.parent.mkdir(parents=True)
    file.write_bytes(Receipt.of(task, "ab" * 32, folder).content())
    return file


def read_receipt(file):
    task = stages.task(config.parse(shrunk_params(), "params.yaml"), "train", "r0004")
    return Workspace(file.parents[2]).receipt(task, "ab" * 32)


def write_state(folder):
    live = LiveState("r0004", "training", 8, 80, 1.0, 2.0, 0.1, BEGIN.columns)
    write_json(folder / "r0004-ab/live/state.json", vars(live))
    return folder / "r0004-ab/live/state.json"


def write_history(folder):
    history(time=1e9).write(folder / "history.csv")
    return folder / "history.csv"


def write_manifest(folder):
    manifest = Manifest(2, "folder", "noise", {}, 0, 3, (), 0, 0, (), {}, {"r0004": Level.of([])})
    write_json(folder / "dataset.json", manifest.to_json())
    return folder / "dataset.json"


def write_run_record(folder):
    RunRecord.of(config.parse(shrunk_params(), "params.yaml"), "ab", "RUNNING").write(str(folder), "run-1")
    return folder / "runs/run-1/run.json"


def write_snapshot(folder):
    snapshots = SnapshotFolder(FolderStore(folder), "r0004", "ab" * 32)
    snapshots.write(8, {"x": torch.arange(6.0)}, {"images_shown": 8})
    return next(file for file in sorted(folder.rglob("*")) if file.is_file() and "LATEST" not in file.name)


def read_snapshot(file):
    snapshot = SnapshotFolder(FolderStore(file.parents[1]), "r0004", "ab" * 32).read()
    return snapshot and (snapshot[0]["x"].tolist(), snapshot[1]["images_shown"])


def write_pickle(folder):
    (folder / "file.pkl").write_bytes(pickle.dumps([np.arange(6, dtype=np.float32), "a", {"b": 1}], 2))
    return folder / "file.pkl"


def read_first_array(file):
    value = read_pickle(file)
    return array_of(value[0] if isinstance(value, list) and value else value)


def archive(kind):
    return lambda folder: write_kind(folder, kind)


def read_archive(file):
    """The sizes of the files. No checksum of a tar covers their contents, nor names that are not ASCII."""
    archives._zip_in_this_process.cache_clear()
    files = archives.open_files(file, file.parent / "scratch")
    for name in files.sizes:
        with suppress(*archives.READ_ERRORS):  # a build counts such a file as skipped
            files.read(name)
    return sorted(files.sizes.values())


def photographs_in(folder, labels="source"):
    """The parameters of a dataset of them."""
    params = shrunk_params()["dataset"] | {"source": "folder", "path": str(folder), "label_attributes": []}
    return config.validated(config.DatasetConfig, params | {"labels": labels, "resolution": 4}, "params.yaml")


def write_photographs(folder):
    """Two, in Parquet."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    rows = {"image": [{"bytes": encode_png(image), "path": None} for image in pixels], "label": [0, 1]}
    (folder / "photographs").mkdir(parents=True)
    pq.write_table(pa.table(rows), folder / "photographs/0.parquet")
    return folder / "photographs/0.parquet"


def read_photographs(file):
    source = open_source(photographs_in(file.parent), file.parents[1] / "scratch")
    for item in source.items:
        with suppress(UnusableImage):
            source.load(item)


def write_labels(folder):
    (folder / "labels.json").write_text(json.dumps({"labels": [["a.png", 0], ["b/c.png", 1]]}))
    return folder / "labels.json"


def read_labels(file):
    files = archives.open_files(file.parent, file.parent / "scratch")
    return listed_classes(photographs_in(file.parent, "labels.json"), files, ["a.png", "b/c.png"])


def write_shard(folder):
    build(photographs_in(write_photographs(folder).parent), folder / "built", workers=1)
    return next(folder.glob("built/r0004/*.parquet"))


def read_shard(file):
    """The images, after a look at the first ones, which compares no digest."""
    root = file.parents[1]
    with suppress(InputError):
        list(first_images(root, load_manifest(root), 4))
    return load_images(root, 4)[0].tobytes()


def chunks_in(folder):
    return chunks.Job(None, np.arange(2), (4,), folder, 2, 3, ())


def write_finished_chunk(folder):
    shard = chunks_in(folder).dataset / "r0004/0.parquet"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"x")
    chunk = chunks.Chunk({"r0004": Shard("r0004/0.parquet", 2, 1, "ab" * 32)}, {"None": 2}, (), 0, ())
    write_json(chunks_in(folder).receipt(0), sealed(asdict(chunk)))
    return chunks_in(folder).receipt(0)


def read_finished_chunk(file):
    """An InputError in place of having it made again."""
    try:
        return chunks.finished_chunks(chunks_in(file.parents[1]))[0]
    except KeyError:
        raise InputError("made again") from None


def write_classifier(folder):
    classifier.save(classifier.Classifier(2, 4), folder / "c.safetensors")
    return folder / "c.safetensors"


VALUES = {  # files of JSON and YAML
    "params.yaml": (write_params, config.load, as_yaml),
    "cluster.yaml": (write_profile, read_profile, as_yaml),
    "cluster.yaml with signers": (write_profile_with_signers, read_profile, as_yaml),
    "plan for a job": (
        printed({"totals": {"to_do": 3, "hours": None}}),
        lambda file: number_to_do(read_bytes(file, "")),
        as_json,
    ),
    "collected for a job": (
        printed({"run": "run-1", "state": "SUCCEEDED", "verdict": {"phase": "r0008", "passed": True}}),
        lambda file: Collected.parse(read_bytes(file, "")).status("https://example.org"),
        as_json,
    ),
    "evaluation": (contract(EVALUATION), Evaluation.read, as_json),
    "verdict": (contract(verdict(EVALUATION)), Verdict.read, as_json),
    "registration": (contract(Registration("faces", "1", "abc")), Registration.read, as_json),
    "checkpoint.json": (
        write_checkpoint_facts,
        lambda file: read_checkpoint(file.parent, needed=()).facts,
        as_json,
    ),
    "receipt": (write_receipt, read_receipt, as_json),
    "state.json": (write_state, lambda file: read_record(str(file.parents[2]), "r0004-ab"), as_json),
    "dataset.json": (write_manifest, lambda file: load_manifest(file.parent), as_json),
    "run.json": (write_run_record, lambda file: RunRecord.read(str(file.parents[2]), "run-1"), as_json),
    "finished chunk": (write_finished_chunk, read_finished_chunk, as_json),
    "labels": (write_labels, read_labels, as_json),
}
FILES = {name: (write, read) for name, (write, read, _) in VALUES.items()} | {
    "history.csv": (write_history, History.read),
    "networks.safetensors": (write_networks, read_networks),
    "snapshot": (write_snapshot, read_snapshot),
    "photographs": (write_photographs, read_photographs),
    "shard": (write_shard, read_shard),
    "classifier": (write_classifier, lambda file: classifier.load(file, torch.device("cpu")) and None),
    "pickle": (write_pickle, read_first_array),
    "tar": (archive("tar"), read_archive),
    "tar.gz": (archive("tar.gz"), read_archive),
    "tar.xz": (archive("tar.xz"), read_archive),
    "tar.zst": (archive("tar.zst"), read_archive),
    "zip": (archive("zip"), read_archive),
}
SEALED = (
    *("evaluation", "verdict", "registration", "checkpoint.json", "networks.safetensors"),
    *("finished chunk", "shard"),
)
WHOLE = ("snapshot", "tar", "tar.gz", "tar.xz", "tar.zst")  # a damaged one is refused, or as before
