"""`progan collect`, and what `progan submit` hands over, in a project whose dataset DVC knows.

The runs are made up, to the last digest.
"""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from components.build_dataset.stage import build_dataset
from components.object_store import open_store
from components.object_store.dataset import find_manifest, upload_dataset
from components.results import Results, opened
from pipelines import cli, options
from pipelines.checkout import Checkout
from pipelines.compile import storage_of
from pipelines.hand_over import hand_over
from pipelines.profile import Storage, load_profile
from progan import config
from progan.dataset.reader import load_manifest
from progan.errors import InputError, Interrupted
from progan.files import read_json, write_json
from progan.snapshots import read_checkpoint, write_checkpoint
from progan.training import fingerprint
from tests.conftest import ROOT, shrunk_params
from tests.pipelines.http_server import serving
from tests.pipelines.test_submit import API

REPORT = ("report.html", "training.csv", "swd.csv", "metrics/r0008.json")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Two phases; the dataset is built and dvc.lock says so. To be copied."""
    root = tmp_path_factory.mktemp("built")
    for file in ("dvc.yaml", ".dvc/config", ".dvcignore", "progan/__init__.py", "infra/cluster.yaml"):
        (root / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, root / file)
    params = shrunk_params()
    del params["phases"]["r0016"]
    params |= {"paint": {}}
    params["dataset"] |= {"source": "folder", "path": "data/raw/faces", "label_attributes": []}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (root / "data/raw/faces").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(8):
        pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"data/raw/faces/{number}.png")
    with contextlib.chdir(root):
        (root / ".dvc/config").write_text("[core]\n  no_scm = true\n  analytics = false\n")
        build_dataset(config.load(), Path("data/multires"))
        Checkout().claim(["build-dataset"])
    return root


@pytest.fixture
def project(built, tmp_path, monkeypatch):
    """The current folder: a checkout where nothing is trained."""
    shutil.copytree(built, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")


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
        evaluation = {"phase": key, "checkpoint": checkpoint.digest}
        pictures = self.file("s", b"picture"), self.file("n", b"nearest")
        self.results.keep_evaluation(key, self.file("e", evaluation), *pictures)

    def judge(self, key, checkpoint, passed=True):
        reason = {"measure": "ms_ssim", "value": 0.5, "limit": 0.4, "passed": passed, "text": "ms_ssim is"}
        candidate = {"checkpoint": checkpoint.digest}
        verdict = {"passed": passed, "phase": key, "reasons": [reason], "candidate": candidate}
        self.results.keep_for_run(self.file("verdict.json", verdict))
        registration = {"model": "progan-toy-celeba", "version": "3" if passed else None, "run": "mlflow-run"}
        self.results.keep_for_run(self.file("registration.json", registration))

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


@pytest.fixture
def run(project, tmp_path):
    return Run(tmp_path / "made")


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


def test_nothing_is_left_to_do(run):
    run.finish()
    found = json.loads(collected("--json", "--md", "comment.md"))
    assert (found["phases"], found["left"], found["state"]) == (["r0004", "r0008"], [], "SUCCEEDED")
    assert found["verdict"]["passed"]
    assert found["registration"]["version"] == "3"
    assert found["report"] == "results/runs/run-1/report.html"
    comment = Path("comment.md").read_text()
    assert comment.startswith("### progan-toy-celeba: r0008: the gate passed\n\n- ✓ ms_ssim is\n")
    assert (
        "[progan-toy-celeba version 3](http://mlflow.progan:5000/#/models/progan-toy-celeba/versions/3)"
        in comment
    )
    assert "left for `dvc repro`: nothing" in comment
    for key in ("r0004", "r0008"):
        assert read_checkpoint(Path("checkpoints", key)).facts["phase"] == key
        assert Path("history", f"{key}.csv").read_text() == key
        assert read_json(Path("evaluation", f"{key}.json"))["phase"] == key
    assert Path("report/report.html").read_text() == "report.html"
    assert Checkout().stale() == []
    shutil.rmtree("checkpoints")
    Checkout().repo.checkout()
    assert read_checkpoint(Path("checkpoints/r0008")).facts["phase"] == "r0008"
    again, lock = tree(), Path("dvc.lock").read_bytes()
    collected("--md", "comment.md")
    assert tree() == again
    assert Path("dvc.lock").read_bytes() == lock


def test_without_the_data(run, tmp_path):
    """In CI no data lies here: what dvc.lock says of it counts, to the same lock file but for sizes."""
    run.finish()
    here = tmp_path / "project"
    shutil.copytree(here, tmp_path / "without")
    collected()
    with contextlib.chdir(tmp_path / "without"):
        shutil.rmtree("data")
        collected()
        assert not Path("data").exists()
        locks = [yaml.safe_load((folder / "dvc.lock").read_text()) for folder in (here, Path())]
        assert hashes(locks[0]) == hashes(locks[1])
        assert len(hashes(locks[0])) == 9
        shutil.rmtree(".dvc/cache")
        assert "data/multires: not known here, and /progan/data/datasets/folder-" in refused()


def hashes(lock):
    """By stage: the parameters, and the digests of all it reads and makes."""
    return {
        name: (
            stage.get("params"),
            *({each["path"]: each["md5"] for each in stage[key]} for key in ("deps", "outs")),
        )
        for name, stage in lock["stages"].items()
    }


def test_a_failed_gate_leaves_nothing_to_do_either(run):
    run.finish(passed=False)
    told = collected()
    assert "r0008: the gate failed\n  ✗ ms_ssim is" in told
    assert "left for dvc repro: nothing" in told
    assert read_json(Path("registration.json"))["version"] is None


def test_a_run_that_failed_is_collected_as_far_as_it_came(run):
    first = run.train("r0004")
    run.judge("r0004", first, passed=False)
    run.end("FAILED", "train-phase-2 failed")
    told = collected("--md", "comment.md")
    assert "run-1: FAILED train-phase-2 failed\nr0004: the gate failed\n" in told
    assert "collected: r0004\n" in told
    assert "left for dvc repro: score-network, train@r0008, evaluate@r0004" in told
    assert "run-1, FAILED train-phase-2 failed" in Path("comment.md").read_text()
    assert not Path("verdict.json").exists()
    assert "train@r0004" not in Checkout().stale()


def test_what_does_not_belong_together_is_not_claimed(run):
    """A later run trained r0004 anew: what was trained and measured before it is of another checkpoint."""
    run.finish()
    run.train("r0004", weight=1.0)
    told = collected()
    assert "collected: r0004\n" in told
    assert "train@r0008" in Checkout().stale()
    assert not Path("checkpoints/r0008").exists()
    assert not Path("evaluation").exists()
    assert not Path("verdict.json").exists()


def test_other_parameters_and_other_data_are_refused(run, monkeypatch):
    run.finish()
    text = Path("params.yaml").read_text()
    values = yaml.safe_load(text)
    values["phases"]["r0008"]["stable_kimg"] = 9
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert refused() == (
        "run-1: trained with other parameters than params.yaml's "
        "(phases.r0008.stable_kimg: was 0.08, is 9.0); check out what was submitted"
    )
    Path("params.yaml").write_text(text)
    with monkeypatch.context() as newer:
        newer.setattr("components.digests.RESULTS_VERSION", 99)
        assert "(RESULTS_VERSION, that of the code)" in refused()
    facts = read_json(Path("results/runs/run-1/run.json"))
    write_json(Path("results/runs/run-1/run.json"), facts | {"dataset": "0" * 64})
    digest = run.manifest.digest[:12]
    assert refused().startswith(
        f"run-1: trained on the dataset 000000000000, not on {digest}, which data/multires"
    )


# ------------------------------------------------------------------------------------------------
# Where the dataset was built on the cluster


def storage():
    return storage_of(config.load(), load_profile(Path("infra/cluster.yaml")))


def store_in(address):
    profile = yaml.safe_load(Path("infra/cluster.yaml").read_text())
    profile["storage"] |= {"datasets": f"{address}/data"}
    Path("infra/cluster.yaml").write_text(yaml.safe_dump(profile, sort_keys=False))


def track_photographs():
    with Checkout().repo as repo:
        repo.add("data/raw/faces")


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
        assert read_checkpoint(Path("checkpoints/r0008")).facts["phase"] == "r0008"
        assert repo.status() == {}
        assert repo.reproduce() == []


def test_a_dataset_of_the_parameters_before_gives_way(clone, tmp_path):
    """What dvc.lock knows, and even what lies here; before that, a run of the new ones can be submitted."""
    shutil.copytree(clone / "data", "data", dirs_exist_ok=True)
    new = Path("params.yaml").read_text()
    Path("params.yaml").write_text(new.replace("seed: 123", "seed: 5"))
    shutil.rmtree("data/multires")
    build_dataset(config.load(), Path("data/multires"))
    Checkout().claim(["build-dataset"])
    Path("params.yaml").write_text(new)
    shutil.copytree(Path(), tmp_path / "without")
    assert "left for dvc repro: nothing" in collected()
    assert files_in(Path("data/multires")) == files_in(clone / "data/multires")
    with contextlib.chdir(tmp_path / "without"):
        shutil.rmtree("data/multires")
        assert options.planned_dataset(config.load(), "data/multires") == ""
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
    assert "trained on the dataset 000000000000, not on" in refused()
    Path("dvc.lock").unlink()
    assert f"{storage().dataset} has not the dataset 000000000000 that run-1 was trained on" in refused()


def test_pictures_that_were_painted_otherwise_are_painted_again(project, address, tmp_path):
    """As the dataset that the cluster has is of other pictures than the one that dvc.lock knows."""
    store_in(address)
    values = yaml.safe_load(Path("params.yaml").read_text()) | {"paint": {"faces": {"images": 2, "seed": 1}}}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    Checkout().claim(["paint@faces", "build-dataset"])
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


@pytest.mark.parametrize("photographs", ["untracked", "others"])
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
    assert "data/raw/faces: not photographs that DVC knows; build-dataset is left to dvc repro" in told
    assert "collected: r0004, r0008\n" in told
    assert "build-dataset" in Checkout().stale()
    assert "train@r0008" not in Checkout().stale()
    assert "build-dataset" not in yaml.safe_load(Path("dvc.lock").read_text())["stages"]


# ------------------------------------------------------------------------------------------------


def test_runs_that_cannot_be_collected(run):
    with pytest.raises(Interrupted, match="run-1: is RUNNING; collect it when it has ended"):
        collected()
    run.results.keep_state("FAILED", "no photographs")
    facts = read_json(Path("results/runs/run-1/run.json"))
    write_json(Path("results/runs/run-1/run.json"), facts | {"dataset": ""})
    assert refused() == "run-1: FAILED before it had a dataset; there is nothing to collect"
    shutil.rmtree("results")
    assert refused().startswith("run-1: no run of this name keeps results in results; give its id, or")


def test_kubeflow_knows_how_a_run_ended(run):
    run.finish()
    run.results.keep_state("RUNNING")
    state = {"run_id": "run-1", "state": "RUNNING"}
    answers = {("GET", f"{API}/healthz"): {}, ("GET", f"{API}/runs/run-1"): lambda request: state}
    with serving(answers) as server:
        with pytest.raises(Interrupted, match="run-1: is RUNNING"):
            collected("--host", server.url)
        state["state"] = "CANCELED"
        found = json.loads(
            collected("--host", server.url, "--ui", "https://kubeflow.example.org/_/p", "--json")
        )
        assert (found["state"], found["url"]) == (
            "CANCELED",
            "https://kubeflow.example.org/_/p/#/runs/details/run-1",
        )
        answers.clear()
        assert "404" in refused("--host", server.url)


def test_a_damaged_checkpoint(run):
    """What came before stays whole; when it is mended, collecting again completes it."""
    second = run.finish()
    kept = next(Path("results/checkpoints").glob("r0008-*/optimizers.safetensors"))
    whole = kept.read_bytes()
    kept.write_bytes(whole[:50])
    lock = Path("dvc.lock").read_bytes()
    with pytest.raises(InputError, match=r"r0008-\w+: damaged; delete checkpoint\.json there"):
        collected()
    assert Path("dvc.lock").read_bytes() == lock
    assert read_checkpoint(Path("checkpoints/r0004"))
    assert [path.name for path in Path("checkpoints").iterdir()] == ["r0004"]
    kept.write_bytes(whole)
    assert "left for dvc repro: nothing" in collected()
    assert opened(Path("checkpoints/r0008")).digest == second.digest


def test_no_remote_to_push_to(run):
    run.finish()
    with pytest.raises(InputError, match="DVC: config file error: no remote specified"):
        collected("--push")


def test_a_run_that_started_from_a_registered_checkpoint(project, tmp_path, monkeypatch):
    """That comes from the registry, whose part a copy of the folder plays here, and is claimed first."""
    champion = Run(tmp_path / "champion").train("r0004", weight=2.0)
    shutil.rmtree("results")
    values = yaml.safe_load(Path("params.yaml").read_text())
    del values["phases"]["r0004"]
    values["warm_start"] = {"r0004": {"model": "faces", "version": "7", "checkpoint": champion.digest}}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    run = Run(tmp_path / "made")
    second = run.train("r0008", champion)
    run.file("network/score_network.json", {"kind": "none"})
    run.results.keep_score_network(run.folder / "network")
    run.evaluate("r0008", second)
    run.judge("r0008", second, passed=False)
    run.end()
    fetched = []

    def from_registry(config, key, out):
        fetched.append(key)
        shutil.copytree(champion.folder, out)

    monkeypatch.setattr("components.warm_start.stage.warm_start", from_registry)
    assert "left for dvc repro: nothing" in collected()
    assert opened(Path("checkpoints/r0004")).digest == champion.digest
    assert opened(Path("checkpoints/r0008")).digest == second.digest
    collected()
    assert fetched == ["r0004"]


# ------------------------------------------------------------------------------------------------
# The other way round


@pytest.fixture(scope="module")
def done(built, tmp_path_factory):
    """The same with everything done. To be copied."""
    root = tmp_path_factory.mktemp("done") / "project"
    shutil.copytree(built, root)
    with contextlib.chdir(root):
        Run(root.parent / "made").finish()
        collected()
        shutil.rmtree("results")
    return root


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
