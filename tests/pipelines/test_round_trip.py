"""Laptop and cluster tell one truth: a run is collected, pushed and pulled, and what a laptop trained is
not trained again. A real S3 server holds results, data and DVC's remote; kfp's local runner is the cluster.
"""

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipelines.compiling import storage_of
from pipelines.profile import load_profile
from progan import config
from progan.files import sha256_file
from tests.conftest import IMAGE, ROOT
from tests.pipelines.conftest import Project
from tests.pipelines.kubeflow_server import kubeflow_server

pytestmark = pytest.mark.slow


@pytest.fixture
def kubeflow():
    """Takes what is submitted, and runs nothing."""
    with kubeflow_server(multi_user=False) as kubeflow:
        yield kubeflow.server


def done(project, *command):
    finished = project.run(*command)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout + finished.stderr


def git(project, *command):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return done(project, "git", *identity, *command)


class World:
    """A repository to clone, and a cluster that shares nothing with the clones but S3."""

    def __init__(self, root, address):
        self.root, self.address = root, address
        self.origin, self.cluster = Project(root / "origin"), Project(root / "cluster")

    def clone(self, name):
        subprocess.run(["git", "clone", "-q", self.origin.root, self.root / name], check=True)
        return Project(self.root / name)

    def commit(self, project):
        git(project, "add", "--all")
        git(project, "commit", "-qm", "as it is")
        git(project, "push", "-q", "origin", "HEAD")

    def submit(self, project, server):
        """What was handed over; then the cluster runs it: the run's name and log."""
        profile = ("--profile", "infra/cluster.yaml", "--image", IMAGE)
        said = done(project, "progan", "submit", "--host", server.url, "--experiment", "e", *profile)
        self.cluster.root.mkdir(exist_ok=True)
        shutil.copy(project.root / "params.yaml", self.cluster.root)
        with contextlib.chdir(project.root):
            storage = storage_of(config.load(), load_profile(Path("infra/cluster.yaml")))
        log = done(
            self.cluster, "progan", "run", f"--dataset={storage.dataset}", f"--results={storage.results}"
        )
        return said, log.split("/runs/")[1].split("/")[0], log

    def trained(self, key):
        """The newest checkpoint of a phase on the cluster."""
        found = (self.cluster.root / ".kfp").glob("progressive-training-*/train*/checkpoint")
        facts = {folder: json.loads((folder / "checkpoint.json").read_text()) for folder in sorted(found)}
        return [folder for folder, each in facts.items() if each["phase"] == key][-1]


@pytest.fixture
def world(tmp_path, small_params, address, new_project):
    """Phases r0004 and r0008, DVC's remote in S3, a profile whose storage is in S3."""
    project = new_project("origin")
    profile = yaml.safe_load((ROOT / "infra/cluster.yaml").read_text())
    for name in ("data", "snapshots", "results"):
        profile["storage"]["datasets" if name == "data" else name] = f"{address}/{name}"
    (project.root / "infra/cluster.yaml").write_text(yaml.safe_dump(profile, sort_keys=False))
    done(project, "dvc", "remote", "add", "--default", "s3", f"{address}/dvc")
    git(project, "add", "--all")
    git(project, "commit", "-qm", "the project")
    git(project, "config", "receive.denyCurrentBranch", "ignore")
    return World(tmp_path, address)


def files_in(folder):
    return {str(p.relative_to(folder)): sha256_file(p) for p in Path(folder).rglob("*") if p.is_file()}


def locked(project):
    """dvc.lock without the sizes that only those know who have the data."""
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    for stage in lock["stages"].values():
        for entry in stage.get("deps", []):
            entry.pop("size", None), entry.pop("nfiles", None)
    return lock


def test_round_trip(world, kubeflow):
    a = world.clone("a")
    done(a, "dvc", "repro", "build-dataset")
    done(a, "dvc", "push")
    world.commit(a)
    said, run, log = world.submit(a, kubeflow)
    assert "handed over: the dataset\n" in said
    without_data = world.clone("without-data")

    told = done(a, "progan", "collect", run, "--push")
    assert "collected: r0004, r0008" in told
    assert "left for dvc repro: nothing" in told
    world.commit(a)
    assert "up to date" in done(a, "dvc", "repro")
    assert files_in(a.root / "checkpoints/r0008") == files_in(world.trained("r0008"))

    b = world.clone("b")
    done(b, "dvc", "pull")
    for key in ("r0004", "r0008"):
        assert files_in(b.root / "checkpoints" / key) == files_in(world.trained(key))
    assert "Data and pipelines are up to date." in done(b, "dvc", "repro")
    assert done(b, "dvc", "status", "--quiet") == ""
    assert locked(b) == locked(a)

    found = json.loads(without_data.run("progan", "collect", run, "--json").stdout)
    assert (found["phases"], found["left"]) == (["r0004", "r0008"], [])
    assert not (without_data.root / "data/multires").exists()
    assert locked(without_data) == locked(a)
    assert "up to date" in done(without_data, "dvc", "repro", "--dry", "--allow-missing")

    b.change(training={"seed": 5})
    done(b, "dvc", "repro", "evaluate@r0004")
    done(b, "dvc", "push")
    world.commit(b)
    c = world.clone("c")
    shutil.rmtree(world.cluster.root)
    plan = json.loads(done(c, "progan", "plan", "--cluster", "--json"))
    cached = {task["name"]: task["why"] for task in plan["tasks"] if task["state"] == "cached"}
    handed = ["handed over from here"]
    assert cached == {
        "build-dataset": [],
        "score-network": [],
        "train r0004": handed,
        "evaluate r0004": handed,
    }
    said, run, log = world.submit(c, kubeflow)
    assert "handed over: train r0004, evaluate r0004\n" in said
    for stage in ("train", "evaluate"):
        assert f"{stage} r0004: was done before, taken from" in log
        assert f"{stage} r0008: was done before" not in log
    assert not list((world.cluster.root / ".kfp/snapshots").glob("r0004-*"))
    assert files_in(world.trained("r0004")) == files_in(b.root / "checkpoints/r0004")
    said, run, log = world.submit(c, kubeflow)
    assert "handed over" not in said
    done(b, "progan", "collect", run, "--push")
    assert "up to date" in done(b, "dvc", "repro")
    assert files_in(b.root / "checkpoints/r0008") == files_in(world.trained("r0008"))


def test_a_dataset_that_only_the_cluster_built(world, kubeflow):
    """Nobody has it but the cluster: one clone submits, another collects, everybody pulls."""
    world.cluster.root.mkdir()
    shutil.copy(world.origin.root / "params.yaml", world.cluster.root)
    done(world.cluster, "progan", "paint")
    said, run, _ = world.submit(world.clone("laptop"), kubeflow)
    assert "handed over" not in said
    collector = world.clone("collector")
    told = done(collector, "progan", "collect", run, "--push")
    assert " to fetch\n" in told
    assert "left for dvc repro: nothing" in told
    assert "up to date" in done(collector, "dvc", "repro", "--dry")
    world.commit(collector)

    third = world.clone("third")
    done(third, "dvc", "pull")
    for folder in ("data/multires", "data/raw/toy-celeba", "checkpoints", "evaluation", "score_network"):
        assert files_in(third.root / folder) == files_in(collector.root / folder)
    assert files_in(third.root / "data/raw/toy-celeba") == files_in(
        world.cluster.root / "data/raw/toy-celeba"
    )
    assert done(third, "dvc", "status", "--quiet") == ""
    assert "Data and pipelines are up to date." in done(third, "dvc", "repro")
    shutil.rmtree(third.root / "data/multires")
    done(third, "dvc", "repro", "--force", "--single-item", "build-dataset")
    assert locked(third) == locked(collector)
