"""What tasks made: found by what decides it, never another's, whole or not at all; in a folder and on S3."""

import dataclasses
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from components.build_dataset.stage import find_or_build
from components.evaluate.component import evaluate
from components.evaluate.evaluation import Evaluation
from components.object_store import dataset, open_store
from components.object_store.dataset import fetch_level, fetch_manifest, find_manifest
from components.object_store.s3 import S3Store
from components.report.component import report
from components.results import Results, opened, run_facts
from components.score_network.component import score_network
from components.train.component import train
from progan import config
from progan.dataset.reader import load_images, load_manifest
from progan.errors import InputError
from progan.snapshots import read_checkpoint, write_checkpoint
from progan.training import fingerprint
from tests.evaluations import evaluation


@pytest.fixture(params=["folder", "s3"])
def uri(request, tmp_path):
    """Where results are, in a store of either kind."""
    return str(tmp_path / "results") if request.param == "folder" else request.getfixturevalue("address")


@pytest.fixture
def files(tmp_path):
    """Returns a function that makes a file with a text."""

    def make(text):
        path = tmp_path / "files" / text
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return make


@pytest.fixture
def made(tmp_path, files):
    """Returns a function that gives what training makes: this checkpoint, a history and one picture."""

    def make(checkpoint, history="history"):
        picture = tmp_path / "grids" / "00000.080.png"
        picture.parent.mkdir(exist_ok=True)
        picture.write_text("picture")
        return checkpoint, files(history), picture.parent

    return make


@pytest.fixture
def finished(tmp_path, small_config):
    """Returns a function that makes the checkpoint of a phase, begun with another; its folder."""

    def make(key, init, weight=0.0, name="made"):
        phase, folder = small_config.phase(key), tmp_path / name / key
        before = init and read_checkpoint(init)
        facts = {"phase": key, "dataset": {"digest": "level"}}
        facts["fingerprint"] = fingerprint(small_config, phase, "level", before)
        write_checkpoint(folder, {"w": torch.full((4,), weight)}, {"adam": torch.ones(4)}, facts)
        return folder

    return make


def places(folder):
    """Where what training makes is laid."""
    return folder / "checkpoint", folder / "history.csv", folder / "grids"


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def gathered(results, folder):
    results.gather(folder)
    return {name: content.decode() for name, content in files_in(folder).items()} if folder.exists() else {}


def test_what_was_kept_is_laid_out_as_dvc_does(uri, tmp_path, small_config, files, made, finished):
    results = Results(uri, small_config, "data", "run-1")
    assert gathered(results, tmp_path / "nothing") == {}
    assert list(results.gather_checkpoints(tmp_path / "nothing")) == []
    first = finished("r0004", None)
    results.keep_training("r0004", *made(first))
    second = finished("r0008", first)
    results.keep_training("r0008", *made(second, "history 8"))
    results.keep_evaluation("r0004", files("evaluation"), files("samples"), files("nearest"))
    results.keep_for_run(files("verdict.json"))
    assert gathered(results, tmp_path / "project") == {
        "history/r0004.csv": "history",
        "grids/r0004/00000.080.png": "picture",
        "history/r0008.csv": "history 8",
        "grids/r0008/00000.080.png": "picture",
        "evaluation/r0004.json": "evaluation",
        "samples/r0004.png": "samples",
        "samples/r0004-nearest.png": "nearest",
        "verdict.json": "verdict.json",
    }
    assert list(results.gather_checkpoints(tmp_path / "project")) == ["r0004", "r0008"]
    for folder in (first, second):
        assert files_in(tmp_path / "project/checkpoints" / folder.name) == files_in(folder)


def test_nothing_of_other_parameters_data_or_runs_is_found(tmp_path, small_config, files, made, finished):
    results = Results(str(tmp_path / "results"), small_config, "data", "run-1")
    before = None
    for key in small_config.phases:
        before = finished(key, before)
        results.keep_training(key, *made(before))
        results.keep_evaluation(key, files(key), files(key), files(key))
    results.keep_for_run(files("verdict.json"))
    assert set(gathered(replace(results, dataset_digest="other"), tmp_path / "a")) == {"verdict.json"}
    assert "verdict.json" not in gathered(replace(results, run="run-2"), tmp_path / "b")
    measures = replace(small_config, measures=replace(small_config.measures, seed=9))
    found = gathered(replace(results, config=measures), tmp_path / "c")
    assert {name.split("/")[0] for name in found} == {"history", "grids", "verdict.json"}
    later = replace(small_config.phases["r0016"], stable_kimg=9.0)
    phases = replace(small_config, phases=small_config.phases | {"r0016": later})
    found = gathered(replace(results, config=phases), tmp_path / "d")
    assert "history/r0008.csv" in found
    assert "history/r0016.csv" not in found
    other = replace(results, config=phases)
    assert list(other.gather_checkpoints(tmp_path / "d")) == ["r0004", "r0008"]
    assert list(replace(results, dataset_digest="other").gather_checkpoints(tmp_path / "a")) == []


def test_a_phase_that_began_with_another_checkpoint_is_another(uri, tmp_path, small_config, made, finished):
    """The same parameters and data on another machine: the bits of the phase before count."""
    results = Results(uri, small_config, "data")
    first, elsewhere = finished("r0004", None), finished("r0004", None, 1e-7, "elsewhere")
    results.keep_training("r0004", *made(first))
    results.keep_training("r0008", *made(finished("r0008", elsewhere)))
    out = tmp_path / "out"
    assert not results.fetch_training("r0008", opened(first), *places(out))
    assert not out.exists()
    assert list(results.gather_checkpoints(tmp_path / "project")) == ["r0004"]
    results.keep_training("r0008", *made(finished("r0008", first)))
    assert results.fetch_training("r0008", opened(first), *places(out))


def test_half_a_checkpoint_is_none_and_a_damaged_one_is_told(
    uri, tmp_path, small_config, files, made, finished
):
    results, checkpoint, out = Results(uri, small_config, "data"), finished("r0004", None), tmp_path / "out"
    store, place = open_store(uri), results._checkpoint("r0004")
    store.upload(results._history("r0004"), files("history"))
    for name in ("networks.safetensors", "optimizers.safetensors"):
        store.upload(f"{place}/{name}", checkpoint / name)
        assert not results.fetch_training("r0004", None, *places(out))
    results.keep_training("r0004", *made(checkpoint))
    store.write(f"{place}/optimizers.safetensors", b"damaged")
    with pytest.raises(InputError, match=rf"{place}: damaged; delete checkpoint\.json there to have r0004"):
        results.fetch_training("r0004", None, *places(out))
    assert not (out / "checkpoint").exists()
    store.delete(f"{place}/networks.safetensors")
    with pytest.raises(InputError, match=f"{place}: damaged"):
        results.fetch_training("r0004", None, *places(out))


def test_keeping_again_never_mixes_two_checkpoints(uri, small_config, made, finished, monkeypatch):
    """Stopped between two files: there is no checkpoint, rather than one of parts that do not belong."""
    results = Results(uri, small_config, "data")
    results.keep_training("r0004", *made(finished("r0004", None)))
    upload, sent = results.store.upload, []

    def stopping(name, file):
        sent.append(name)
        if len(sent) > 2:
            raise KeyboardInterrupt
        upload(name, file)

    monkeypatch.setattr(results.store, "upload", stopping)
    with pytest.raises(KeyboardInterrupt):
        results.keep_training("r0004", *made(finished("r0004", None, 1.0, "other")))
    assert results.facts("r0004") is None


def task(component, loaded, out, **inputs):
    """Call a component as Kubeflow's runner does; the folder of its output."""
    given = {"params": config.to_text(loaded), "params_digest": "", "dataset_digest": "data", **inputs}
    return component.python_func(
        **given, **{name: SimpleNamespace(path=str(path)) for name, path in out.items()}
    )


def test_a_finished_phase_is_not_trained_again(uri, tmp_path, small_config, made, finished):
    """There is no dataset here: whoever trained would fail."""
    first = finished("r0004", None)
    second = finished("r0008", first)
    kept = Results(uri, small_config, "data")
    kept.keep_training("r0008", *made(second))
    out = {name: tmp_path / "task" / name for name in ("checkpoint", "history", "grids")}
    inputs = {"dataset_uri": str(tmp_path / "none"), "snapshots": str(tmp_path / "none"), "results": uri}
    init = SimpleNamespace(path=str(first))
    task(train, small_config, out, phase="r0008", init=init, **inputs)
    assert files_in(out["checkpoint"]) == files_in(second)
    assert out["history"].read_text() == "history"
    assert (out["grids"] / "00000.080.png").read_text() == "picture"
    other = SimpleNamespace(path=str(finished("r0004", None, 1.0, "other")))
    with pytest.raises(InputError, match=r"none/dataset\.json: no such file"):
        task(train, small_config, out, phase="r0008", init=other, **inputs)


def test_a_checkpoint_is_not_measured_again(uri, tmp_path, small_config, made, finished, files):
    """There is no dataset here: whoever measured would fail."""
    checkpoint = finished("r0004", None)
    measured = replace(evaluation(swd_average=5.0), checkpoint=opened(checkpoint).digest)
    measured.write(tmp_path / "evaluation.json")
    kept, pictures = Results(uri, small_config, "data"), (files("samples"), files("nearest"))
    kept.keep_evaluation("r0004", tmp_path / "evaluation.json", *pictures)
    out = {name: tmp_path / "task" / name for name in ("evaluation", "samples", "nearest")}
    metadata = {}
    inputs = {
        **{"phase": "r0004", "dataset_uri": str(tmp_path / "none"), "results": uri},
        "network": SimpleNamespace(path=str(tmp_path / "none")),
        **{name: SimpleNamespace(path=str(path), metadata=metadata) for name, path in out.items()},
    }
    task(evaluate, small_config, {"checkpoint": checkpoint}, **inputs)
    assert Evaluation.read(out["evaluation"]) == measured
    assert [out[name].read_text() for name in ("samples", "nearest")] == ["samples", "nearest"]
    assert metadata == measured.numbers
    other = finished("r0004", None, 1.0, "other")
    with pytest.raises(InputError, match=r"none/dataset\.json: no such file"):
        task(evaluate, small_config, {"checkpoint": other}, **inputs)


def test_the_score_network_is_made_once(uri, tmp_path, small_config, photographs):
    dataset = dataclasses.replace(
        small_config.dataset, source="folder", path=str(photographs), label_attributes=()
    )
    loaded, data = replace(small_config, dataset=dataset), str(tmp_path / "multires")
    digest = find_or_build(loaded, data, "")
    first, second = tmp_path / "first", tmp_path / "second"
    inputs = {"dataset_digest": digest, "results": uri}
    task(score_network, loaded, {"network": first}, dataset_uri=data, **inputs)
    assert {"classifier.safetensors", "score_network.json"} == set(files_in(first))
    task(score_network, loaded, {"network": second}, dataset_uri=str(tmp_path / "none"), **inputs)
    assert files_in(second) == files_in(first)


def test_what_a_run_is_of(uri, small_config):
    assert run_facts(uri, "run-1") is None
    results = Results(uri, small_config, "data", "run-1")
    results.keep_state("RUNNING")
    assert run_facts(uri, "run-1")["state"] == "RUNNING"
    results.keep_state("FAILED", "train failed")
    facts = run_facts(uri, "run-1")
    assert (facts["state"], facts["error"], facts["dataset"]) == ("FAILED", "train failed", "data")
    assert config.parse(facts["params"], "run.json") == small_config


def test_the_last_task_says_how_a_run_ended(uri, tmp_path, small_config):
    """Where it succeeded, a runner may have no message at all."""
    given = {
        "params": config.to_text(small_config),
        "params_digest": "",
        "dataset_uri": str(tmp_path / "none"),
    }
    page = SimpleNamespace(path=str(tmp_path / "report.html"))
    for state, message, told in (("SUCCEEDED", None, ""), ("FAILED", "out of memory", "out of memory")):
        status = SimpleNamespace(state=state, error_message=message)
        report.python_func(**given, results=uri, run="run-1", status=status, page=page)
        facts = run_facts(uri, "run-1")
        assert (facts["state"], facts["error"]) == (state, told)


@pytest.fixture
def faces(small_config, photographs, tmp_path, monkeypatch):
    """Parameters with a dataset that can be built."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dataset = replace(small_config.dataset, source="folder", path=str(photographs), label_attributes=())
    return replace(small_config, dataset=dataset)


def test_a_dataset_is_built_once_and_known_by_its_digest(uri, faces, tmp_path):
    assert find_manifest(uri) is None
    assert fetch_manifest(uri, tmp_path) == ""
    digest = find_or_build(faces, uri, "")
    built = find_manifest(uri)
    assert built.digest == digest == fetch_manifest(uri, tmp_path) == load_manifest(tmp_path).digest
    moved = replace(faces, dataset=replace(faces.dataset, path="nowhere"))
    assert find_or_build(moved, uri, digest) == digest
    images, labels = load_images(fetch_level(uri, digest, 16), 16)
    assert images.shape == (40, 3, 16, 16)
    assert sorted(set(labels)) == [0, 1]
    other = "0" * 64
    with pytest.raises(InputError, match=f"holds the dataset {digest[:12]}, not 000000000000"):
        fetch_level(uri, other, 4)
    with pytest.raises(InputError, match=f"holds the dataset {digest[:12]}, not 000000000000 as planned"):
        find_or_build(faces, uri, other)
    with pytest.raises(InputError, match="built with other parameters than params.yaml's"):
        find_or_build(replace(faces, dataset=replace(faces.dataset, seed=9)), uri, "")


def test_an_upload_that_was_cut_off_is_no_dataset(faces, address, tmp_path, monkeypatch):
    """Whichever file was the last to arrive; building again completes it and leaves nothing behind."""
    complete = find_or_build(faces, str(tmp_path / "complete"), "")
    names = files_in(tmp_path / "complete")
    upload, left = S3Store.upload, []

    def cut_off(store, name, file):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        upload(store, name, file)

    monkeypatch.setattr(dataset, "SHARDS_AT_ONCE", 1)
    with monkeypatch.context() as cut:
        cut.setattr(S3Store, "upload", cut_off)
        for arrive in range(len(names)):
            left[:] = range(arrive)
            with pytest.raises(KeyboardInterrupt):
                dataset.upload_dataset(tmp_path / "complete", address)
            assert find_manifest(address) is None
    assert find_or_build(faces, address, "") == complete
    store = open_store(address)
    assert {name: store.read(name) for name in names} == names
    assert not list((tmp_path / "cache").rglob("build-*"))


def test_a_report_with_its_folders_is_found_again(uri, tmp_path, small_config):
    folder = tmp_path / "report"
    (folder / "metrics").mkdir(parents=True)
    for name in ("report.html", "metrics/r0004.json", "metrics/r0008.json"):
        (folder / name).write_text(name)
    results = Results(uri, small_config, "data", "run-1")
    results.keep_report(folder, "SUCCEEDED", "")
    assert [results.fetch_of_run(tmp_path / "found" / path.name) for path in folder.iterdir()] == [True, True]
    assert files_in(tmp_path / "found") == files_in(folder)
    assert not results.fetch_of_run(tmp_path / "found" / "swd.csv")
