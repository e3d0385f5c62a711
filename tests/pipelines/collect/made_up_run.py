"""A run as its tasks leave it, made up to the last digest, and what collecting it does to a checkout."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from components.register.registration import Registration
from components.results import Results, opened
from pipelines import cli
from pipelines.dvc import Checkout
from progan import config
from progan.dataset.reader import load_manifest
from progan.errors import InputError
from progan.files import write_json
from progan.snapshots import write_checkpoint
from progan.training import fingerprint
from tests.evaluations import evaluation, verdict

REPORT = ("report.html", "training.csv", "swd.csv", "metrics/r0008.json")


class Run:
    """A run as its tasks leave it in the folder `results`."""

    def __init__(self, folder, name="run-1"):
        self.config = config.load()
        self.manifest = load_manifest(Path("data/multires"))
        self.folder, self.results = folder, Results("results", self.config, self.manifest.digest, name)
        self.results.keep_state("RUNNING")

    def file(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content) if isinstance(content, bytes) else write_json(path, content)
        return path

    def train(self, key, init=None, weight=0.0):
        phase, out = self.config.phase(key), self.folder / f"{weight}/{key}"
        data = self.manifest.level(phase.resolution).digest
        facts = {"phase": key, "dataset": {"digest": data}}
        facts["fingerprint"] = fingerprint(self.config, phase, data, init)
        write_checkpoint(out, {"w": torch.full((4,), weight)}, {"adam": torch.ones(4)}, facts)
        grids = self.file(f"grids-{key}/00000.080.png", b"picture").parent
        self.results.keep_training(key, out, self.file("history", key.encode()), grids)
        return opened(out)

    def evaluate(self, key, checkpoint):
        replace(evaluation(key), checkpoint=checkpoint.digest).write(self.folder / "e")
        pictures = self.file("s", b"picture"), self.file("n", b"nearest")
        self.results.keep_evaluation(key, self.folder / "e", *pictures)

    def judge(self, key, checkpoint, passed=True):
        candidate = replace(evaluation(key), checkpoint=checkpoint.digest)
        registration = Registration("progan-toy-celeba", "3" if passed else None, "mlflow-run")
        for name, value in {
            "verdict.json": verdict(candidate, passed, "ms_ssim is"),
            "registration.json": registration,
        }.items():
            value.write(self.folder / name)
            self.results.keep_for_run(self.folder / name)

    def end(self, state="SUCCEEDED", error=""):
        for name in REPORT:
            self.file(f"report/{name}", name.encode())
        self.results.keep_report(self.folder / "report", state, error)

    def finish(self, passed=True):
        """All of it."""
        first = self.train("r0004")
        second = self.train("r0008", first)
        self.file("network/score_network.json", {"kind": "none"})
        self.results.keep_score_network(self.folder / "network")
        self.evaluate("r0004", first)
        self.evaluate("r0008", second)
        self.judge("r0008", second, passed)
        self.end()
        return second


def collected(*options):
    done = CliRunner().invoke(cli.app, ["collect", "run-1", "--results", "results", *options])
    if done.exception:
        raise done.exception
    return done.stdout


def refused(*options):
    """The line, when nothing has changed here."""
    before = tree()
    with pytest.raises(InputError) as error:
        collected(*options)
    assert tree() == before
    return str(error.value)


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tree():
    ignored = (".dvc/", "results/")
    return {name: content for name, content in files_in(Path()).items() if not name.startswith(ignored)}


def hashes(lock):
    """By stage: the parameters, and the digests of all it reads and makes."""
    return {
        name: (
            stage.get("params"),
            *({each["path"]: each["md5"] for each in stage[key]} for key in ("deps", "outs")),
        )
        for name, stage in lock["stages"].items()
    }


def track_photographs():
    with Checkout().repo as repo:
        repo.add("data/raw/faces")
