"""A store that is slow, refuses, cuts, is full or lies about sizes, from any request on: the work ends in one
line, and when the fault is over, in the same bytes as without.
"""

import random
import re
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml

from components import stages
from components.object_store import open_store, s3
from components.object_store.dataset import fetch_dataset, upload_dataset
from components.results import Results
from progan import config
from progan.dataset.build import build
from progan.dataset.reader import load_manifest
from progan.errors import InputError, Unavailable
from progan.snapshots import SnapshotFolder
from tests import made_up
from tests.pipelines.finished import FACES, add_photographs

LENGTH = re.compile(rb"(?i)(?<=content-length: )\d+")


def refusal(status, code):
    body = f"<Error><Code>{code}</Code><Message>says S3</Message></Error>".encode()
    headers = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return {"refusal": headers.encode() + body}


def half(piece):
    """Not of an interim answer: botocore would wait for the rest of one for ever."""
    return piece if piece.startswith(b"HTTP/1.1 100") else piece[: len(piece) // 2]


def times_the_size(factor):
    def change(piece):
        return LENGTH.sub(lambda digits: b"%0*d" % (len(digits[0]), int(digits[0]) * factor), piece)

    return {"change": change}


FAULTS = {
    "slow": {"refusal": b""},
    "busy": refusal("503 Slow Down", "SlowDown"),
    "refusing": refusal("403 Forbidden", "AccessDenied"),
    "full": refusal("507 Insufficient Storage", "XMinioStorageFull"),
    "over its quota": refusal("400 Bad Request", "QuotaExceeded"),
    "cutting": {"change": half},
    "telling half the size": times_the_size(0.5),
    "telling twice the size": times_the_size(2),
}


@pytest.fixture
def project(tmp_path, small_params, monkeypatch):
    """The current folder has a dataset and a trained phase, which are to go to the store and come back."""
    monkeypatch.chdir(tmp_path)
    small_params["dataset"] |= {"source": "folder", "path": str(FACES), "label_attributes": []}
    Path("params.yaml").write_text(yaml.safe_dump(small_params))
    add_photographs(4)
    build(config.load().dataset, Path("data/multires"), workers=1)
    made_up.training(config.load(), "r0004")
    return tmp_path


def travel(address, to):
    """Send the dataset, the phase's result and a snapshot to the store, and bring them to the folder `to`."""
    task, results = stages.task(config.load(), "train", "r0004"), Results(f"{address}/results")
    upload_dataset(Path("data/multires"), f"{address}/data")
    fetch_dataset(f"{address}/data", load_manifest(Path("data/multires")).digest, to / "data/multires")
    results.keep(task, "ab" * 32, Path())
    assert results.bring(task, "ab" * 32, to)
    snapshots = SnapshotFolder(open_store(f"{address}/snapshots"), "r0004", "ab" * 32)
    if not snapshots.write(8, {"weight": torch.ones(4)}, {"images_shown": 8}):
        raise Unavailable("told already")
    tensors, facts = snapshots.read()
    assert (tensors["weight"].tolist(), facts) == ([1.0] * 4, {"images_shown": 8})


def contents(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("[!.]*") if file.is_file()
    }


def of_the_project(folder):
    """What has to come: the dataset, and the outputs of the phase but for its receipt."""
    own, brought = contents(Path()), contents(folder)
    [receipt] = [name for name in brought if name.startswith("receipts/")]
    assert {name.split("/")[0] for name in brought} == {"data", "checkpoints", "history", "grids", "receipts"}
    return {name: own[name] for name in brought if name != receipt} | {receipt: brought[receipt]}


def survive(fault, request, proxy, address, project):
    """Have a fault from this request on, and then none; returns the number of requests without it."""
    place, to = f"{address}/{request}", project / f"brought-{request}"
    proxy.begin_fault(request, **fault)
    with pytest.MonkeyPatch.context() as impatient, suppress(InputError, Unavailable):
        impatient.setattr(s3, "ATTEMPTS", 1)
        impatient.setattr(s3, "ANSWER_SECONDS", 0.3)
        travel(place, to)
    proxy.pass_all()
    travel(place, to)
    assert contents(to) == of_the_project(to)
    assert not list(to.rglob("*.partial"))
    return proxy.requests


@pytest.mark.parametrize("fault", ["refusing", "full", "cutting", "telling twice the size"])
def test_a_fault_at_some_moment(project, proxy, address, fault):
    survive(FAULTS[fault], random.Random(fault).randint(1, 30), proxy, address, project)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_every_moment(project, proxy, address, fault):
    requests, request = 1, 1
    while request <= requests:
        requests = survive(FAULTS[fault], request, proxy, address, project)
        request += 1
