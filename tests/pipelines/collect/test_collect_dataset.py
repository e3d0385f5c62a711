"""`progan collect` where the dataset was built on the cluster alone."""

import contextlib
import re
import shutil
from pathlib import Path

import pytest
import yaml

from components.build_dataset.stage import build_dataset
from components.object_store import open_store
from components.object_store.dataset import upload_dataset
from pipelines.compiling import storage_of
from pipelines.dvc import Checkout
from pipelines.known_dataset import planned_dataset
from pipelines.profile import load_profile
from progan import config
from progan.checkpoints import read_checkpoint
from progan.dataset.reader import load_manifest
from progan.errors import InputError
from progan.files import read_json, write_json
from tests.commands import Command
from tests.full_disk import repeat_until_it_fits, size_of
from tests.pipelines.collect.made_up_run import Run, collected, files_in, hashes, refused, track_photographs


def storage():
    return storage_of(config.load(), load_profile(Path("infra/cluster.yaml")))


def store_in(address):
    profile = yaml.safe_load(Path("infra/cluster.yaml").read_text())
    profile["storage"] |= {"datasets": f"{address}/data"}
    Path("infra/cluster.yaml").write_text(yaml.safe_dump(profile, sort_keys=False))


@pytest.fixture
def clone(project, address, tmp_path):
    """The current folder: a checkout without data, whose dvc.lock knows no dataset; the cluster built it, and
    run-1 trained on that. DVC's remote has the photographs."""
    store_in(address)
    Path(".dvc/config").write_text(
        "[core]\n  no_scm = true\n  analytics = false\n  remote = s3\n"
        f"['remote \"s3\"']\n  url = {address}/dvc\n"
    )
    track_photographs()
    Checkout().push(["data/raw/faces.dvc"])
    Run(tmp_path / "made").finish()
    upload_dataset(Path("data/multires"), storage().dataset)
    shutil.copytree("data", tmp_path / "elsewhere/data")
    shutil.copy("dvc.lock", tmp_path / "elsewhere")
    for folder in ("data/raw/faces", "data/multires", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(folder)
    Path("dvc.lock").unlink()
    return tmp_path / "elsewhere"


def test_the_dataset_comes_from_the_cluster(clone, tmp_path):
    """As if it had been built here; for everybody else, too."""
    told = collected("--push")
    assert f"{storage().dataset}: " in told
    assert "left for dvc repro: nothing" in told
    assert files_in(Path("data/multires")) == files_in(clone / "data/multires")
    ours, built = (yaml.safe_load((folder / "dvc.lock").read_text()) for folder in (Path(), clone))
    assert hashes(ours)["build-dataset"] == hashes(built)["build-dataset"]
    assert Checkout().repo.reproduce(dry=True, allow_missing=True) == []

    in_git = ["dvc.yaml", "dvc.lock", "params.yaml", ".dvc/config", ".dvcignore", "progan", "report/metrics"]
    third = tmp_path / "third"
    for name in [*in_git, "data/raw/faces.dvc"]:
        (third / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if Path(name).is_dir() else shutil.copy)(name, third / name)
    with contextlib.chdir(third):
        repo = Checkout().repo
        repo.pull()
        assert files_in(Path("data/multires")) == files_in(clone / "data/multires")
        assert read_checkpoint(Path("checkpoints/r0008")).facts.phase == "r0008"
        assert repo.status() == {}
        assert repo.reproduce() == []


@pytest.mark.slow
def test_a_dataset_of_the_parameters_before_gives_way(clone, tmp_path):
    """What dvc.lock knows, and even what lies here; before that, a run of the new ones can be submitted."""
    shutil.copytree(clone / "data", "data", dirs_exist_ok=True)
    new = Path("params.yaml").read_text()
    Path("params.yaml").write_text(new.replace("seed: 123", "seed: 5"))
    shutil.rmtree("data/multires")
    build_dataset(config.load(), Path("data/multires"))
    Checkout().record(["build-dataset"])
    Path("params.yaml").write_text(new)
    shutil.copytree(Path(), tmp_path / "without")
    assert "left for dvc repro: nothing" in collected()
    assert files_in(Path("data/multires")) == files_in(clone / "data/multires")
    with contextlib.chdir(tmp_path / "without"):
        shutil.rmtree("data/multires")
        assert planned_dataset(config.load(), "data/multires") == ""
        assert "left for dvc repro: nothing" in collected()
        assert files_in(Path("data/multires")) == files_in(clone / "data/multires")


def test_a_fetch_that_failed_leaves_no_dataset(clone):
    run = read_json(Path("results/runs/run-1/run.json"))
    store, shard = open_store(storage().dataset), "r0004/train-00000-of-00001.parquet"
    content = store.read(shard)
    store.delete(shard)
    with pytest.raises(InputError, match=f"{shard}: this shard is missing"):
        collected()
    assert not Path("data/multires").exists()
    assert not Path("dvc.lock").exists()
    store.write(shard, content)
    assert "left for dvc repro: nothing" in collected()
    write_json(Path("results/runs/run-1/run.json"), run | {"dataset": "0" * 64})
    assert "trained on the dataset 000000000000, but" in refused()
    Path("dvc.lock").unlink()
    assert f"{storage().dataset} is not the dataset 000000000000 that run-1 was trained on" in refused()


def test_pictures_that_were_painted_otherwise_are_painted_again(project, address, tmp_path):
    """As the dataset that the cluster has is of other pictures than the one that dvc.lock knows."""
    store_in(address)
    values = yaml.safe_load(Path("params.yaml").read_text()) | {"paint": {"faces": {"images": 2, "seed": 1}}}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    Checkout().record(["paint@faces", "build-dataset"])
    before = Path("dvc.lock").read_text()
    values["paint"]["faces"]["seed"] = 2
    Path("params.yaml").write_text(yaml.safe_dump(values))
    shutil.copytree("data/multires", tmp_path / "mine")
    manifest = load_manifest(Path("data/multires")).to_json()
    write_json(Path("data/multires/dataset.json"), manifest | {"name": "the cluster's"})
    Run(tmp_path / "made").finish()
    upload_dataset(Path("data/multires"), storage().dataset)
    shutil.rmtree("data/multires")
    shutil.copytree(tmp_path / "mine", "data/multires")
    assert "left for dvc repro: nothing" in collected()
    assert load_manifest(Path("data/multires")).name == "the cluster's"
    stages, old = (yaml.safe_load(text)["stages"] for text in (Path("dvc.lock").read_text(), before))
    painted = {each["path"]: each["md5"] for each in stages["build-dataset"]["deps"]}["data/raw/faces"]
    assert painted == stages["paint@faces"]["outs"][0]["md5"] != old["paint@faces"]["outs"][0]["md5"]


@pytest.mark.parametrize("photographs", ["untracked", pytest.param("others", marks=pytest.mark.slow)])
def test_photographs_that_are_not_proven_are_left_to_dvc(clone, photographs):
    """The weights come home all the same."""
    if photographs == "untracked":
        there = storage().dataset
        Path("data/raw/faces.dvc").unlink()
        upload_dataset(clone / "data/multires", storage().dataset)
        assert storage().dataset != there
    else:
        shutil.copytree(clone / "data/raw/faces", "data/raw/faces")
        Path("data/raw/faces/0.png").unlink()
    told = collected()
    assert "data/raw/faces: not tracked by DVC; build-dataset is left to dvc repro" in told
    assert "collected: r0004, r0008\n" in told
    assert "build-dataset" in Checkout().stale()
    assert "train@r0008" not in Checkout().stale()
    assert "build-dataset" not in yaml.safe_load(Path("dvc.lock").read_text())["stages"]


@pytest.mark.slow
def test_a_full_disk(clone, storage, address, small_disk, tmp_path):
    """Dataset and results come from S3, piece by piece as there is room, to the same bytes.

    A small file takes a whole page of the disk: a fifth of the bytes is a twentieth of the pages.
    """
    results, command = f"{address}/results", f"collect run-1 --results {address}/results"
    for name, content in files_in(Path("results")).items():
        open_store(results).write(name, content)
    shutil.rmtree("results")
    small, ample = small_disk("64m"), Path.cwd()
    shutil.copytree(ample, small, dirs_exist_ok=True)
    before = size_of(ample)
    code, said = Command(command, ample, tmp_path / "log", **storage.environment).end()
    assert code == 0, said
    written = size_of(ample) - before
    repeat_until_it_fits(command, small, tmp_path / "log", written // 5, **storage.environment)
    assert brought(small) == brought(ample)


def brought(project):
    """The results, dvc.lock and the cache, without what DVC and Python leave there of their own."""
    ours = re.compile(r"(?!\.dvc/tmp/|.*\.pyc$)")
    return {name: content for name, content in files_in(project).items() if ours.match(name)}
