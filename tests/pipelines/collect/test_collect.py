"""`progan collect`: what a run on the cluster made is here, and dvc.lock says it."""

import contextlib
import errno
import json
import shutil
from pathlib import Path

import pytest
import yaml

from components import stages
from components.evaluate.evaluation import Evaluation
from components.receipts import Workspace
from pipelines.dvc import Checkout
from progan.checkpoints import read_checkpoint
from progan.errors import InputError, Interrupted
from progan.files import read_json, write_json
from tests.pipelines.collect.made_up_run import Run, collected, hashes, refused, tree
from tests.pipelines.kubeflow_server import kubeflow_server


def test_nothing_is_left_to_do(run):
    run.finish()
    found = json.loads(collected("--json", "--md", "comment.md"))
    assert (found["phases"], found["left"], found["state"]) == (["r0004", "r0008"], [], "SUCCEEDED")
    assert found["verdict"]["passed"]
    assert found["registration"]["version"] == "3"
    assert found["report"] == "results/runs/run-1/report/report.html"
    comment = Path("comment.md").read_text()
    assert comment.startswith("### progan-toy-celeba: r0008: the gate passed\n\n- ✓ ms_ssim is\n")
    assert (
        "[progan-toy-celeba version 3](http://mlflow.progan:5000/#/models/progan-toy-celeba/versions/3)"
        in comment
    )
    assert "left for `dvc repro`: nothing" in comment
    for key in ("r0004", "r0008"):
        assert read_checkpoint(Path("checkpoints", key)).facts.phase == key
        assert Path("history", f"{key}.csv").read_bytes() == (run.folder / f"history/{key}.csv").read_bytes()
        assert Evaluation.read(Path("evaluation", f"{key}.json")).phase == key
        identity = read_json(Path("receipts/train", f"{key}.json"))["identity"]
        assert Workspace(Path()).receipt(stages.task(run.config, "train", key), identity)
    assert Path("report/report.html").read_text() == "report.html"
    assert Checkout().stale() == []
    shutil.rmtree("checkpoints")
    Checkout().repo.checkout()
    assert read_checkpoint(Path("checkpoints/r0008")).facts.phase == "r0008"
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
        assert "data/multires: not built here, and /progan/data/datasets/folder-" in refused()


def test_a_failed_gate_leaves_nothing_to_do_either(run):
    run.finish(passed=False)
    told = collected()
    assert "r0008: the gate failed\n  ✗ ms_ssim is" in told
    assert "left for dvc repro: nothing" in told
    assert read_json(Path("registration.json"))["version"] is None


def test_a_run_that_failed_is_collected_as_far_as_it_came(run):
    first = run.train("r0004")
    run.judge("r0004", first, passed=False)
    run.end("FAILED", "train-2 failed")
    told = collected("--md", "comment.md")
    assert told.startswith(
        "run-1: FAILED train-2 failed; progan submit goes on from what there is\nr0004: the gate"
    )
    assert "collected: r0004\n" in told
    assert "left for dvc repro: score-network, train@r0008, evaluate@r0004" in told
    assert "run-1, FAILED train-2 failed" in Path("comment.md").read_text()
    assert not Path("verdict.json").exists()
    assert "train@r0004" not in Checkout().stale()


def test_what_does_not_belong_together_is_not_claimed(run):
    """A later run trained r0004 anew: what was trained and measured before it is of another checkpoint."""
    run.finish()
    run.train("r0004", seed=1)
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
        "run-1: trained with parameters other than params.yaml's "
        "(phases.r0008.stable_kimg: was 0.08, is 9.0); check out the commit that was submitted"
    )
    Path("params.yaml").write_text(text)
    with monkeypatch.context() as newer:
        newer.setattr("components.identity.RESULTS_VERSION", 99)
        assert "(the code's RESULTS_VERSION)" in refused()
    facts = read_json(Path("results/runs/run-1/run.json"))
    write_json(Path("results/runs/run-1/run.json"), facts | {"dataset": "0" * 64})
    digest = run.manifest.digest[:12]
    assert refused().startswith(
        f"run-1: trained on the dataset 000000000000, but data/multires is {digest}; "
    )


def test_runs_that_cannot_be_collected(run):
    with pytest.raises(Interrupted, match="run-1: is RUNNING; collect it when it has ended"):
        collected()
    run.record("FAILED", "no photographs")
    facts = read_json(Path("results/runs/run-1/run.json"))
    write_json(Path("results/runs/run-1/run.json"), facts | {"dataset": ""})
    assert refused() == "run-1: FAILED before it had a dataset; there is nothing to collect"
    shutil.rmtree("results")
    assert refused().startswith("run-1: no results of such a run in results; give Kubeflow's id of it, or")


def test_kubeflow_knows_how_a_run_ended(run):
    run.finish()
    run.record("RUNNING")
    with kubeflow_server() as kubeflow:
        host = ("--host", kubeflow.server.url)
        with pytest.raises(Interrupted, match="run-1: is RUNNING"):
            collected(*host)
        kubeflow.states["run-1"] = ["CANCELED"]
        found = json.loads(collected(*host, "--ui", "https://kubeflow.example.org/_/p", "--json"))
        url = "https://kubeflow.example.org/_/p/#/runs/details/run-1"
        assert (found["state"], found["url"]) == ("CANCELED", url)
        kubeflow.token = "another"
        assert "401" in refused(*host)


def test_a_damaged_checkpoint(run):
    """What came before stays whole; when it is mended, collecting again completes it."""
    second = run.finish()
    kept = next(Path("results/train").glob("r0008-*/checkpoints/r0008/optimizers.safetensors"))
    whole = kept.read_bytes()
    kept.write_bytes(whole[:50])
    lock = Path("dvc.lock").read_bytes()
    with pytest.raises(InputError, match=r"optimizers\.safetensors: missing or damaged; delete train/r0008-"):
        collected()
    assert Path("dvc.lock").read_bytes() == lock
    assert read_checkpoint(Path("checkpoints/r0004"))
    assert [path.name for path in Path("checkpoints").iterdir()] == ["r0004"]
    kept.write_bytes(whole)
    assert "left for dvc repro: nothing" in collected()
    assert read_checkpoint(Path("checkpoints/r0008")).digest == second.digest


def test_what_a_full_disk_cuts_off_of_dvcs_own_files(run, monkeypatch):
    """dvc.lock stays as it was; the list of files in use, which DVC would refuse, goes."""
    run.finish()
    lock = Path("dvc.lock").read_bytes()

    def cut_off(data, stream):
        stream.write("stages:\n  tr")
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as full:
        full.setattr("dvc.utils.serialize._yaml._dump", cut_off)
        with pytest.raises(InputError, match="^dvc.lock: no space left on the disk"):
            collected()
    assert Path("dvc.lock").read_bytes() == lock
    Path(".dvc/tmp/rwlock").write_text("")
    assert "left for dvc repro: nothing" in collected()


def test_no_remote_to_push_to(run):
    run.finish()
    with pytest.raises(InputError, match="DVC: config file error: no remote specified"):
        collected("--push")


def test_a_run_that_started_from_a_registered_checkpoint(project, tmp_path):
    """Its task kept that with the results, as every other does."""
    champion = Run(tmp_path / "made").train("r0004", seed=2)
    shutil.rmtree("results")
    values = yaml.safe_load(Path("params.yaml").read_text())
    del values["phases"]["r0004"]
    values["warm_start"] = {"r0004": {"model": "faces", "version": "7", "checkpoint": champion.digest}}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    run = Run(tmp_path / "made")
    run.keep("warm-start", "r0004")
    second = run.finish(passed=False)
    assert "left for dvc repro: nothing" in collected()
    assert read_checkpoint(Path("checkpoints/r0004")).digest == champion.digest
    assert read_checkpoint(Path("checkpoints/r0008")).digest == second.digest
