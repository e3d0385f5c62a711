"""New photographs are another dataset: none that was built before is taken for theirs."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipelines.compiling import storage_of
from pipelines.known_dataset import planned_dataset
from pipelines.photographs import are_new, digest, origin
from pipelines.planning.step_times import photograph_count
from pipelines.profile import load_profile
from progan import config
from progan.errors import InputError
from tests.conftest import ROOT
from tests.pipelines.finished import FACES, add_photographs


def place():
    return storage_of(config.load(), load_profile(Path("infra/cluster.yaml"))).dataset


def test_photographs_that_dvc_tracks(finished, capsys):
    """With the data away, as in a clone, and then with others."""
    known, before = planned_dataset(config.load(), "data/multires"), place()
    assert len(known) == 64
    shutil.rmtree("data/multires")
    assert planned_dataset(config.load(), "data/multires") == known
    assert not are_new(config.load())

    add_photographs(25)
    assert place() == before
    with Repo() as repo:
        repo.add(str(FACES))
    shutil.rmtree(FACES)
    for path in (f"./{FACES}/", str(FACES.absolute()), str(FACES)):
        finished.change(dataset={"path": path})
        assert origin(config.load()) == f"{FACES}.dvc"
        assert are_new(config.load())
        assert planned_dataset(config.load(), "data/multires") == ""
        assert "the run's first task builds it" in capsys.readouterr().err
    assert place() != before


def test_photographs_that_are_imported_without_a_download(new_project, monkeypatch, photographs):
    """They have the hash of their source, which is theirs once they are here."""
    project = new_project()
    project.change(dataset={"path": "data/raw/mine/"})
    monkeypatch.chdir(project.root)
    Path("data/raw").mkdir()
    with Repo() as repo:
        repo.imp_url(str(photographs), "data/raw/mine", no_download=True)
        imported = digest(config.load())
        repo.imp_url(str(photographs), "data/raw/mine", force=True)
        assert digest(config.load()) == imported != ""
        (photographs / "dogs/000.png").unlink()
        repo.update(["data/raw/mine.dvc"], no_download=True)
    assert digest(config.load()) not in (imported, "")


def test_painted_photographs(new_project, monkeypatch):
    """They are known by the parameters that they are painted by."""
    project = new_project()
    monkeypatch.chdir(project.root)
    assert origin(config.load()) == "paint@toy-celeba"
    before = place()
    project.change(paint={"toy-celeba": {"images": 48, "seed": 2}})
    assert place() != before


def test_photographs_that_nothing_tracks(new_project, monkeypatch):
    """Then parameters alone tell datasets apart."""
    project = new_project()
    project.change(dataset={"path": "data/raw/mine"})
    monkeypatch.chdir(project.root)
    profile = load_profile(ROOT / "infra/cluster.yaml")
    assert (digest(config.load()), origin(config.load())) == ("", "")
    assert not are_new(config.load())
    before = storage_of(config.load(), profile)
    assert before.dataset.startswith("/progan/data/datasets/celeba-wild-")
    project.change(dataset={"max_images": 20})
    assert storage_of(config.load(), profile).dataset != before.dataset
    project.change(dataset={"max_images": None}, training={"seed": 7})
    assert storage_of(config.load(), profile) == before


@pytest.mark.parametrize("content", ["1", "[]", "outs: 1", "outs: [1]", "wdir: x", "{", "\0"])
def test_a_file_that_dvc_has_not_written(finished, content):
    for file, read in {f"{FACES}.dvc": digest, "dvc.lock": are_new}.items():
        before = Path(file).read_text()
        Path(file).write_text(content)
        with suppress(InputError):
            assert not read(config.load())
        Path(file).write_text(before)


@pytest.mark.parametrize("path", ["/dev/zero", "params.yaml"])
def test_a_path_that_is_neither_a_folder_nor_an_archive(finished, path):
    finished.change(dataset={"path": path})
    with pytest.raises(InputError, match=f"^{path}: neither a folder nor an archive"):
        photograph_count(config.load(), Path())
