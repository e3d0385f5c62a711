"""What `progan submit` hands over of a checkout where all is finished."""

import shutil
from pathlib import Path

import pytest
import yaml

from components.object_store.dataset import find_manifest
from components.results import Results, trace
from pipelines.hand_over import hand_over
from pipelines.known_dataset import planned_dataset
from pipelines.profile import Storage
from progan import config
from progan.errors import InputError
from tests.pipelines.collect.made_up_run import Run, files_in, track_photographs


@pytest.fixture
def trained(done, in_a_copy, tmp_path):
    """The current folder: a checkout where all is finished."""
    in_a_copy(done)
    return Run(tmp_path / "made")


ALL = ["score-network", "train r0004", "train r0008", "evaluate r0004", "evaluate r0008"]


def handed(address):
    storage = Storage(f"{address}/data", f"{address}/snapshots", f"{address}/results")
    return hand_over(config.load(), storage, Path("data/multires"))


def test_what_is_finished_here_or_in_the_cache_is_handed_over_once(trained, address, tmp_path):
    checkpoint = files_in(Path("checkpoints/r0008"))
    shutil.rmtree("checkpoints")
    assert handed(address) == ["the dataset", *ALL]
    assert handed(address) == []
    results = Results(f"{address}/results")
    for found in trace(trained.config, trained.manifest, results):
        assert results.bring(found.task, found.identity, tmp_path / "there")
    assert files_in(tmp_path / "there/checkpoints/r0008") == checkpoint
    assert (tmp_path / "there/samples/r0008-nearest.png").read_bytes() == b"nearest of r0008"
    assert files_in(tmp_path / "there/score_network") == files_in(Path("score_network"))
    assert find_manifest(f"{address}/data") == trained.manifest


def test_only_what_these_parameters_would_make_is_handed_over(trained, address):
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["phases"]["r0008"]["stable_kimg"] = 9
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert handed(address) == ["the dataset", "score-network", "train r0004", "evaluate r0004"]
    values["training"]["seed"] = 9
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert handed(address) == []


def test_what_the_cluster_has_stays_and_is_not_followed_by_what_began_elsewhere(trained, address):
    trained.results = Results(f"{address}/results")
    theirs = trained.train("r0004", seed=1)
    assert handed(address) == ["the dataset", "score-network"]
    found = {
        each.task.name: each.receipt for each in trace(trained.config, trained.manifest, trained.results)
    }
    assert found["train@r0004"].digests["checkpoints/r0004"] == theirs.digest
    assert found["train@r0008"] is None


def test_only_what_these_measures_would_measure_is_handed_over(trained, address):
    """With the same score network: what another one measured does not compare."""
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["measures"]["swd_images"] = 8
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert handed(address) == ["the dataset", "score-network", "train r0004", "train r0008"]
    values["measures"]["swd_images"] = 16
    Path("params.yaml").write_text(yaml.safe_dump(values))
    trained.results = Results(f"{address}/results")
    trained.prepare_score_network("another")
    assert handed(address) == []
    trained.prepare_score_network()
    assert handed(address) == ["evaluate r0004", "evaluate r0008"]


def test_a_dataset_of_photographs_as_they_were_is_not_handed_over(trained, address):
    """The name that it would have says photographs: a run on it could be collected as made of them."""
    track_photographs()
    Path("data/raw/faces/0.png").unlink()
    with pytest.raises(InputError, match="data/multires: not built from data/raw"):
        handed(address)
    assert find_manifest(f"{address}/data") is None


def test_another_dataset_in_the_cluster_is_told_before_anything_is_spent(trained, address):
    handed(address)
    digest = trained.manifest.digest[:12]
    text = (Path("data/multires/dataset.json")).read_text()
    Path("data/multires/dataset.json").write_text(text.replace('"name": "faces"', '"name": "others"'))
    with pytest.raises(InputError, match=rf"{address}/data: holds the dataset {digest}, but data/"):
        handed(address)


def test_folders_of_the_cluster_are_out_of_reach(trained):
    storage = Storage("/progan/data/multires", "/progan/data/snapshots", "/progan/data/results")
    assert hand_over(config.load(), storage, Path("data/multires")) == []


def test_a_remote_that_cannot_be_read(trained, address, monkeypatch):
    """What it has would be trained again: nothing is submitted. To compile needs no remote."""
    shutil.rmtree("data")
    shutil.rmtree(".dvc/cache")
    with Path(".dvc/config").open("a") as file:
        file.write(f"  remote = s3\n['remote \"s3\"']\n  url = {address}/dvc\n")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(InputError, match="DVC: .*; check its remote, your credentials and the disk"):
        handed(address)
    assert planned_dataset(config.load(), "data/multires") == ""


def test_files_that_are_not_those_of_their_receipt_are_not_handed_over(trained, address):
    Path("history/r0004.csv").write_text("edited")
    with pytest.raises(InputError, match=r"receipts/train/r0004\.json: does not match its files"):
        handed(address)


def test_a_parameter_that_is_new_and_neutral_hands_over_all_the_same(trained, address):
    """DVC would run the stages again, for it knows no neutral values; the results are those of before."""
    text = Path("params.yaml").read_text()
    lock = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text(lock.replace("ema_decay: 0.99", "ema_decay: 0.98"))
    assert Path("dvc.lock").read_text() != lock
    assert handed(address) == ["the dataset", *ALL]
    assert Path("params.yaml").read_text() == text
