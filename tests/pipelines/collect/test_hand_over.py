"""What `progan submit` hands over of a checkout where all is finished."""

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from components.object_store.dataset import find_manifest
from components.results import Results
from pipelines import cli
from pipelines.hand_over import hand_over
from pipelines.profile import Storage
from progan import config
from progan.errors import InputError
from progan.files import read_json
from tests.pipelines.collect.made_up_run import Run, files_in, track_photographs


@pytest.fixture
def trained(done, in_a_copy, tmp_path):
    """The current folder: a checkout where all is finished."""
    in_a_copy(done)
    return Run(tmp_path / "made")


def handed(address):
    storage = Storage(f"{address}/data", f"{address}/snapshots", f"{address}/results")
    return hand_over(config.load(), storage, Path("data/multires"))


@pytest.mark.parametrize("place", ["here", "in the cache"])
def test_what_is_finished_here_is_handed_over_once(trained, address, place, tmp_path):
    checkpoint = files_in(Path("checkpoints/r0008"))
    if place == "in the cache":
        shutil.rmtree("checkpoints")
        shutil.rmtree("history")
    measures = ["the score network", "the evaluation of r0004", "the evaluation of r0008"]
    assert handed(address) == ["the dataset", "r0004", "r0008", *measures]
    assert handed(address) == []
    there = Results(f"{address}/results", trained.config, trained.manifest.digest)
    assert list(there.gather_checkpoints(tmp_path / "there")) == ["r0004", "r0008"]
    assert files_in(tmp_path / "there/checkpoints/r0008") == checkpoint
    assert (tmp_path / "there/history/r0008.csv").read_text() == "r0008"
    there.gather(tmp_path / "there")
    assert read_json(tmp_path / "there/evaluation/r0008.json")["phase"] == "r0008"
    assert (tmp_path / "there/samples/r0008-nearest.png").read_bytes() == b"nearest"
    assert there.score_network() == files_in(Path("score_network"))
    assert find_manifest(f"{address}/data") == trained.manifest


def test_only_what_these_parameters_would_make_is_handed_over(trained, address):
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["phases"]["r0008"]["stable_kimg"] = 9
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert handed(address) == ["the dataset", "r0004", "the score network", "the evaluation of r0004"]
    values["training"]["seed"] = 9
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert handed(address) == []


def test_what_the_cluster_has_stays_and_is_not_followed_by_what_began_elsewhere(trained, address):
    trained.results = Results(f"{address}/results", trained.config, trained.manifest.digest)
    theirs = trained.train("r0004", weight=1.0)
    assert handed(address) == ["the dataset", "the score network"]
    assert trained.results.facts("r0004")["files"] == theirs.facts["files"]
    assert trained.results.facts("r0008") is None


def test_only_what_these_measures_would_measure_is_handed_over(trained, address):
    """With the same score network: what another one measured does not compare."""
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["measures"]["swd_images"] = 8
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert handed(address) == ["the dataset", "r0004", "r0008", "the score network"]
    values["measures"]["swd_images"] = 16
    Path("params.yaml").write_text(yaml.safe_dump(values))
    there = Results(f"{address}/results", trained.config, trained.manifest.digest)
    there.keep_score_network(trained.file("theirs/score_network.json", {"kind": "another"}).parent)
    assert handed(address) == []
    there.keep_score_network(Path("score_network"))
    assert handed(address) == ["the evaluation of r0004", "the evaluation of r0008"]


def test_a_dataset_of_photographs_as_they_were_is_not_handed_over(trained, address):
    """The name that it would have says photographs: a run on it could be collected as made of them."""
    track_photographs()
    Path("data/raw/faces/0.png").unlink()
    with pytest.raises(InputError, match="data/multires: dvc.lock does not say that it is made of data/raw"):
        handed(address)
    assert find_manifest(f"{address}/data") is None


def test_another_dataset_in_the_cluster_is_told_before_anything_is_spent(trained, address):
    handed(address)
    digest = trained.manifest.digest[:12]
    text = (Path("data/multires/dataset.json")).read_text()
    Path("data/multires/dataset.json").write_text(text.replace('"name": "faces"', '"name": "others"'))
    with pytest.raises(
        InputError, match=rf"{address}/data: holds the dataset {digest}, not \w+, which data/"
    ):
        handed(address)


def test_folders_of_the_cluster_are_out_of_reach(trained):
    storage = Storage("/progan/data/multires", "/progan/data/snapshots", "/progan/data/results")
    assert hand_over(config.load(), storage, Path("data/multires")) == []


def test_a_remote_that_cannot_be_read(trained, address, monkeypatch):
    """What it has would be trained again: nothing is submitted. To compile needs no credentials."""
    shutil.rmtree("data")
    shutil.rmtree(".dvc/cache")
    with Path(".dvc/config").open("a") as file:
        file.write(f"  remote = s3\n['remote \"s3\"']\n  url = {address}/dvc\n")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(InputError, match="DVC: .*; check its remote, your credentials and the disk"):
        handed(address)
    assert CliRunner().invoke(cli.app, ["compile"]).exit_code == 0
