"""A run as its tasks leave it, made up to the last digest, and what collecting it does to a checkout."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from components import stages
from components.receipts import identity_here
from components.results import Results
from components.run_record import RUNNING, RunRecord
from pipelines import cli
from pipelines.dvc import Checkout
from progan import config
from progan.checkpoints import read_checkpoint
from progan.dataset.reader import load_manifest
from progan.errors import InputError
from tests import made_up


class Run:
    """A run as its tasks leave it in `results`, from files that are made up in `folder`."""

    def __init__(self, folder, name="run-1", results="results"):
        self.config, self.folder, self.name = config.load(), folder, name
        self.manifest, self.results = load_manifest(Path("data/multires")), Results(results)
        self.record(RUNNING)

    def record(self, state, error=""):
        RunRecord.of(self.config, self.manifest.digest, state, error).write(self.results.uri, self.name)

    def keep(self, stage, key=None):
        task = stages.task(self.config, stage, key)
        always = task.run == "always"
        paths = task.paths(self.folder)
        identity = self.name if always else identity_here(self.config, task, paths, self.manifest)
        self.results.keep(task, identity, self.folder)

    def train(self, key, seed=0):
        folder = made_up.training(self.config, key, self.folder, seed)
        self.keep("train", key)
        return read_checkpoint(folder)

    def prepare_score_network(self, why="made up"):
        made_up.score_network(self.config, self.folder, why)
        self.keep("score-network")

    def evaluate(self, key, checkpoint):
        made_up.evaluated(self.config, key, checkpoint.digest, self.folder)
        self.keep("evaluate", key)

    def judge(self, key, checkpoint, passed=True):
        made_up.judgement(self.config, key, checkpoint.digest, passed, self.folder)
        self.keep("gate")
        self.keep("register")

    def end(self, state="SUCCEEDED", error=""):
        made_up.report(self.folder)
        self.keep("report")
        self.record(state, error)

    def finish(self, passed=True):
        """All of it."""
        self.prepare_score_network()
        trained = {key: self.train(key) for key in self.config.phases}
        for key, checkpoint in trained.items():
            self.evaluate(key, checkpoint)
        self.judge(key, checkpoint, passed)
        self.end()
        return checkpoint


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
