"""New photographs are another dataset: none that was built before is taken for theirs."""

import shutil
from pathlib import Path

import pytest
import yaml

from pipelines import photographs
from pipelines.compiling import storage_of
from pipelines.known_dataset import planned_dataset
from pipelines.profile import load_profile
from progan import config
from tests.conftest import ROOT


@pytest.fixture
def tracked(new_project, photographs, monkeypatch):
    """A project with photographs that DVC tracks, and the dataset built of them."""
    project = new_project()
    shutil.copytree(photographs, project.root / "data/raw/mine")
    source = {"source": "folder", "path": "data/raw/mine", "label_attributes": [], "resolution": 8}
    project.change(dataset=source)
    values = yaml.safe_load((project.root / "params.yaml").read_text())
    (project.root / "params.yaml").write_text(yaml.safe_dump(values | {"paint": {}}, sort_keys=False))
    monkeypatch.chdir(project.root)
    for command in (["dvc", "add", "--quiet", "data/raw/mine"], ["dvc", "repro", "--quiet", "build-dataset"]):
        done = project.run(*command)
        assert done.returncode == 0, done.stderr
    return project


def place():
    return storage_of(config.load(), load_profile(Path("infra/cluster.yaml"))).dataset


def test_photographs_that_dvc_tracks(tracked, capsys):
    """With the data away, as in a clone, and then with others."""
    assert photographs.origin(config.load()) == "data/raw/mine.dvc"
    known, before = planned_dataset(config.load(), "data/multires"), place()
    assert len(known) == 64
    shutil.rmtree("data/multires")
    assert planned_dataset(config.load(), "data/multires") == known
    assert not photographs.are_new(config.load())

    (Path("data/raw/mine/cats/001.png")).unlink()
    assert place() == before
    assert tracked.run("dvc", "add", "--quiet", "data/raw/mine").returncode == 0
    shutil.rmtree("data/raw/mine")
    assert photographs.are_new(config.load())
    assert planned_dataset(config.load(), "data/multires") == ""
    assert "the run's first task builds it" in capsys.readouterr().err
    assert place() != before


def test_painted_photographs(new_project, monkeypatch):
    """They are known by the parameters that they are painted by."""
    project = new_project()
    monkeypatch.chdir(project.root)
    assert photographs.origin(config.load()) == "paint@toy-celeba"
    before = place()
    project.change(paint={"toy-celeba": {"images": 48, "seed": 2}})
    assert place() != before


def test_photographs_that_nothing_tracks(new_project, monkeypatch):
    """Then parameters alone tell datasets apart."""
    project = new_project()
    project.change(dataset={"path": "data/raw/mine"})
    monkeypatch.chdir(project.root)
    profile = load_profile(ROOT / "infra/cluster.yaml")
    assert (photographs.digest(config.load()), photographs.origin(config.load())) == ("", "")
    assert not photographs.are_new(config.load())
    before = storage_of(config.load(), profile)
    assert before.dataset.startswith("/progan/data/datasets/celeba-wild-")
    project.change(dataset={"max_images": 20})
    assert storage_of(config.load(), profile).dataset != before.dataset
    project.change(dataset={"max_images": None}, training={"seed": 7})
    assert storage_of(config.load(), profile) == before
