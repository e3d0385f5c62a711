"""What tasks made: found by what decides it, never another's, whole or not at all; in a folder and on S3."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from components import stages
from components.build_dataset.stage import find_or_build
from components.evaluate.component import evaluate
from components.object_store import dataset, open_store
from components.object_store.dataset import fetch_level, find_manifest
from components.object_store.s3 import S3Store
from components.receipts import Receipt, Workspace, identity_here, recorded
from components.report.component import report
from components.results import Results, trace
from components.run_record import RUNNING, RunRecord
from components.score_network.component import score_network
from components.train.component import train
from progan import config
from progan.checkpoints import write_checkpoint
from progan.dataset.manifest import Level, Manifest, Shard
from progan.dataset.reader import load_images
from progan.errors import InputError
from progan.files import read_json, write_json
from progan.resolutions import phase_key
from tests.checkpoints import facts_of
from tests.evaluations import evaluation

LEVELS = {phase_key(side): Level.of([Shard(f"{side}.parquet", 9, 1, f"{side}")]) for side in (4, 8, 16)}
MANIFEST = Manifest(2, "folder", "faces", {}, 9, 3, (), 0, 0, (), {}, LEVELS)


@pytest.fixture(params=["folder", "s3"])
def uri(request, tmp_path):
    """Where results are, in a store of either kind."""
    return str(tmp_path / "results") if request.param == "folder" else request.getfixturevalue("address")


@pytest.fixture
def data(tmp_path):
    """The folder of a dataset of which nothing but the manifest is there: whoever read images would fail."""
    write_json(tmp_path / "data/dataset.json", MANIFEST.to_json())
    return tmp_path / "data"


@pytest.fixture
def done(tmp_path, small_config):
    """Returns a function that makes up what a task makes; gives the task, its identity and the folder."""

    def make(stage, key=None, weight=0.0, init=None, folder="made"):
        task, root = stages.task(small_config, stage, key), tmp_path / folder
        for output in task.outputs:
            if output.name == "checkpoint":
                tensors = {"w": torch.full((4,), weight)}, {"m": torch.ones(4)}
                write_checkpoint(root / output.path, facts_of(key), *tensors)
            else:
                file = root / output.path if "." in output.path else root / output.path / "file.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                evaluation(swd_average=5.0, weight=weight).write(file)
        write_json(root / "data/multires/dataset.json", MANIFEST.to_json())
        paths = task.paths(root) | ({"init": init} if init else {})
        return task, task.receipt and identity_here(small_config, task, paths), root

    return make


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def outputs_of(task, root):
    """The contents of what a task made, by their paths."""
    made = [file.path for file in task.outputs]
    return {
        name: content
        for name, content in files_in(root).items()
        if any(name == path or name.startswith(f"{path}/") for path in made)
    }


def test_what_was_kept_is_laid_out_as_dvc_does(uri, tmp_path, done):
    results = Results(uri)
    for stage, key in (("train", "r0004"), ("score-network", None), ("evaluate", "r0004")):
        task, name, root = done(stage, key)
        out = tmp_path / "out" / task.name
        assert not results.bring(task, name, out)
        assert not out.exists()
        results.keep(task, name, root)
        assert results.bring(task, name, out)
        assert outputs_of(task, out) == outputs_of(task, root)
        assert set(files_in(out)) - set(outputs_of(task, out)) == {task.receipt}
        assert (
            Workspace(out).receipt(task, name) == results.receipt(task, name) == Receipt.of(task, name, root)
        )
        assert Workspace(out).receipt(task, "other") is None
        assert not results.bring(task, "0" * 64, out)


def test_what_every_run_does_is_kept_by_the_run(tmp_path, done):
    results, (task, _, root) = Results(str(tmp_path / "results")), done("gate")
    results.keep(task, "run-1", root)
    assert results.bring(task, "run-1", tmp_path / "out")
    assert list(files_in(tmp_path / "out")) == ["verdict.json"]
    assert results.store.read("runs/run-1/verdict.json") == (root / "verdict.json").read_bytes()
    assert not results.bring(task, "run-2", tmp_path / "other")


def test_only_what_is_wanted_comes_and_what_is_there_is_not_fetched_again(uri, tmp_path, done, monkeypatch):
    results, (task, name, root) = Results(uri), done("train", "r0004")
    results.keep(task, name, root)
    download, fetched = results.store.download, []

    def counting(source, file):
        fetched.append(source)
        return download(source, file)

    monkeypatch.setattr(results.store, "download", counting)
    assert results.bring(task, name, tmp_path / "out", ["history/r0004.csv"])
    assert list(files_in(tmp_path / "out")) == ["history/r0004.csv"]
    assert results.bring(task, name, tmp_path / "out")
    (tmp_path / "out/grids/r0004/file.txt").write_text("changed by hand")
    fetched.clear()
    assert results.bring(task, name, tmp_path / "out")
    assert [source.rpartition("/")[2] for source in fetched] == ["file.txt"]
    assert outputs_of(task, tmp_path / "out") == outputs_of(task, root)


def test_half_of_it_is_nothing_and_damage_is_told(uri, tmp_path, done):
    results, (task, name, root) = Results(uri), done("train", "r0004")
    place, store = f"train/r0004-{name[:16]}", open_store(uri)
    for path in outputs_of(task, root):
        store.upload(f"{place}/{path}", root / path)
        assert results.receipt(task, name) is None
    results.keep(task, name, root)
    damaged = f"{place}/checkpoints/r0004/optimizers.safetensors"
    for harm in (lambda: store.write(damaged, b"damaged"), lambda: store.delete(damaged)):
        harm()
        told = f"{damaged}: missing or damaged; delete {place}/receipt.json there to have train r0004 done"
        with pytest.raises(InputError, match=told):
            results.bring(task, name, tmp_path / "out")
        assert not (tmp_path / "out/checkpoints/r0004").exists()
    store.write(f"{place}/receipt.json", b"[]")
    with pytest.raises(InputError, match=f"{place}/receipt.json: no receipt; delete it"):
        results.bring(task, name, tmp_path / "out")


def test_a_receipt_of_something_else_is_no_result_and_writes_to_its_outputs_only(tmp_path, done):
    results, (task, name, root) = Results(str(tmp_path / "results")), done("train", "r0004")
    results.keep(task, name, root)
    receipt, place = results.receipt(task, name), f"train/r0004-{name[:16]}/receipt.json"
    for changes in ({"identity": name[:16] + "0" * 48}, {"outputs": receipt.outputs[:-1]}):
        results.store.write(place, replace(receipt, **changes).content())
        assert not results.bring(task, name, tmp_path / "out")
    outside = receipt.files | {"grids/r0004/../../../outside": next(iter(receipt.files.values()))}
    results.store.write(place, replace(receipt, files=outside).content())
    with pytest.raises(InputError, match=f"{place}: no receipt; delete it"):
        results.bring(task, name, tmp_path / "out")
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "out").exists()


def test_keeping_again_never_mixes_two_results(tmp_path, done, monkeypatch):
    """Stopped between two files: there is nothing, rather than parts that do not belong together."""
    results, (task, name, root) = Results(str(tmp_path / "results")), done("train", "r0004")
    results.keep(task, name, root)
    upload, sent = results.store.upload, []

    def stopping(path, file):
        sent.append(path)
        if len(sent) > 2:
            raise KeyboardInterrupt
        upload(path, file)

    monkeypatch.setattr(results.store, "upload", stopping)
    with pytest.raises(KeyboardInterrupt):
        results.keep(task, name, done("train", "r0004", 1.0, folder="other")[2])
    assert results.receipt(task, name) is None


def found(small_config, *sources, manifest=MANIFEST):
    return {each.task.name: each.source for each in trace(small_config, manifest, *sources) if each.receipt}


def test_a_chain_goes_as_far_as_each_began_with_the_one_before(tmp_path, small_config, done):
    """The same parameters and data on another machine: the bits of the phase before count."""
    results = Results(str(tmp_path / "results"))
    task, name, root = done("train", "r0004")
    results.keep(task, name, root)
    elsewhere = done("train", "r0004", 1e-7, folder="elsewhere")[2] / "checkpoints/r0004"
    task, name, root = done("train", "r0008", init=elsewhere)
    results.keep(task, name, root)
    assert list(found(small_config, results)) == ["train@r0004"]
    task, name, root = done("train", "r0008")
    results.keep(task, name, root)
    assert list(found(small_config, results)) == ["train@r0004", "train@r0008"]


def test_nothing_of_other_parameters_or_data_is_found(tmp_path, small_config, done):
    results = Results(str(tmp_path / "results"))
    for stage in ("score-network", "train", "evaluate"):
        for key in (None,) if stage == "score-network" else small_config.phases:
            results.keep(*done(stage, key))
    assert len(found(small_config, results)) == 7
    measures = replace(small_config, measures=replace(small_config.measures, swd_images=9))
    trained = {f"train@{key}" for key in small_config.phases}
    assert set(found(measures, results)) == {"score-network", *trained}
    later = replace(small_config.phases["r0016"], stable_kimg=9.0)
    phases = replace(small_config, phases=small_config.phases | {"r0016": later})
    gone = set(found(small_config, results)) - set(found(phases, results))
    assert gone == {"train@r0016", "evaluate@r0016"}
    renamed = set(found(small_config, results, manifest=replace(MANIFEST, name="other")))
    assert renamed == trained, "phases go by their own images, the score network by all of the dataset"


def test_the_first_source_that_has_it_is_named(tmp_path, small_config, done):
    there, here = Results(str(tmp_path / "results")), Workspace(tmp_path / "made")
    there.keep(*done("train", "r0004"))
    task, name, root = done("train", "r0008")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        with recorded(small_config, task) as (recorded_as, _):
            assert recorded_as == name
    assert found(small_config, there, here) == {"train@r0004": there, "train@r0008": here}
    assert list(found(small_config, there)) == ["train@r0004"]


def test_a_receipt_is_written_when_the_work_has_ended_well_only(small_config, done, monkeypatch):
    task, _, root = done("train", "r0004")
    monkeypatch.chdir(root)
    with recorded(small_config, task):
        pass
    assert Receipt.parse((root / task.receipt).read_bytes(), "").task == "train@r0004"
    with pytest.raises(KeyboardInterrupt), recorded(small_config, task):
        raise KeyboardInterrupt
    assert not (root / task.receipt).exists()
    (root / "data/multires/dataset.json").unlink()
    with pytest.raises(InputError, match="dataset.json"), recorded(small_config, task):
        pass


# ------------------------------------------------------------------------------------------------
# In pods


def call(component, loaded, out, **inputs):
    """Call a component as Kubeflow's runner does."""
    made = {name: SimpleNamespace(path=str(path), metadata={}) for name, path in out.items()}
    component.python_func(params=config.to_text(loaded), **inputs, **made)
    return made


def test_a_finished_phase_is_not_trained_again(tmp_path, small_config, done, data):
    first = done("train", "r0004")[2] / "checkpoints/r0004"
    task, name, root = done("train", "r0008", init=first)
    uri = str(tmp_path / "results")
    Results(uri).keep(task, name, root)
    out = {file.name: tmp_path / "task" / file.name for file in task.outputs}
    inputs = {
        **{"phase": "r0008", "dataset_uri": str(data), "dataset_digest": MANIFEST.digest},
        **{"snapshots": str(tmp_path / "none"), "results": uri},
    }
    call(train, small_config, out, init=SimpleNamespace(path=str(first)), **inputs)
    for file in task.outputs:
        made, kept = out[file.name], root / file.path
        assert (
            (made.read_bytes() == kept.read_bytes()) if kept.is_file() else (files_in(made) == files_in(kept))
        )
    other = done("train", "r0004", 1.0, folder="other")[2] / "checkpoints/r0004"
    with pytest.raises(InputError, match=r"8\.parquet: this shard is missing"):
        call(train, small_config, out, init=SimpleNamespace(path=str(other)), **inputs)


def test_a_checkpoint_is_not_measured_again(tmp_path, small_config, done, data):
    checkpoint = done("train", "r0004")[2] / "checkpoints/r0004"
    network = done("score-network")[2] / "score_network"
    task, name, root = done("evaluate", "r0004")
    uri = str(tmp_path / "results")
    Results(uri).keep(task, name, root)
    out = {file.name: tmp_path / "task" / file.name for file in task.outputs}
    inputs = {
        **{"phase": "r0004", "dataset_uri": str(data), "dataset_digest": MANIFEST.digest, "results": uri},
        "score_network": SimpleNamespace(path=str(network)),
    }
    made = call(evaluate, small_config, out, checkpoint=SimpleNamespace(path=str(checkpoint)), **inputs)
    assert read_json(out["evaluation"]) == read_json(root / "evaluation/r0004.json")
    assert made["evaluation"].metadata["swd_average"] == 5.0
    other = done("train", "r0004", 1.0, folder="other")[2] / "checkpoints/r0004"
    with pytest.raises(InputError, match=r"4\.parquet: this shard is missing"):
        call(evaluate, small_config, out, checkpoint=SimpleNamespace(path=str(other)), **inputs)


def test_the_score_network_is_made_once(uri, tmp_path, faces):
    data = str(tmp_path / "multires")
    inputs = {"dataset_uri": data, "dataset_digest": find_or_build(faces, data, ""), "results": uri}
    call(score_network, faces, {"score_network": tmp_path / "first"}, **inputs)
    assert set(files_in(tmp_path / "first")) == {"classifier.safetensors", "score_network.json"}
    for shard in (tmp_path / "multires").rglob("*.parquet"):
        shard.unlink()
    call(score_network, faces, {"score_network": tmp_path / "second"}, **inputs)
    assert files_in(tmp_path / "second") == files_in(tmp_path / "first")


def test_what_a_run_is_of(uri, small_config):
    assert RunRecord.read(uri, "run-1") is None
    RunRecord.of(small_config, "data", RUNNING).write(uri, "run-1")
    assert RunRecord.read(uri, "run-1").state == RUNNING
    record = RunRecord.of(small_config, "data", "FAILED", "train failed")
    record.write(uri, "run-1")
    assert RunRecord.read(uri, "run-1") == record
    assert config.parse(record.params, "run.json") == small_config
    open_store(uri).write("runs/run-1/run.json", b"{}")
    with pytest.raises(InputError, match=r"runs/run-1/run\.json: damaged"):
        RunRecord.read(uri, "run-1")


def test_the_last_task_records_how_a_run_ended(tmp_path, small_config):
    """Where it succeeded, a runner may have no message at all; where there is no dataset, there is little."""
    page, uri = {"page": tmp_path / "report.html"}, str(tmp_path / "results")
    for state, message, told in (("SUCCEEDED", None, ""), ("FAILED", "out of memory", "out of memory")):
        status = SimpleNamespace(state=state, error_message=message)
        inputs = {"dataset_uri": str(tmp_path / "none"), "results": uri, "run": "run-1", "status": status}
        call(report, small_config, page, **inputs)
        record = RunRecord.read(uri, "run-1")
        assert (record.state, record.error, record.dataset) == (state, told, "")


# ------------------------------------------------------------------------------------------------
# The dataset


@pytest.fixture
def faces(small_config, photographs, tmp_path, monkeypatch):
    """Parameters with a dataset that can be built."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dataset = replace(small_config.dataset, source="folder", path=str(photographs), label_attributes=())
    return replace(small_config, dataset=dataset)


def test_a_dataset_is_built_once_and_known_by_its_digest(uri, faces, tmp_path):
    assert find_manifest(uri) is None
    digest = find_or_build(faces, uri, "")
    built = find_manifest(uri)
    assert built.digest == digest
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
