"""The contents of a run in MLflow, however often it is logged."""

from pathlib import Path

import mlflow
from PIL import Image

from components.register.mlflow_registry import client, phase_runs
from components.register.runs import _log_params
from progan import config as params
from progan.checkpoints import read_checkpoint
from progan.dataset.manifest import Manifest
from progan.files import read_json
from tests.components.register.finished_run import (
    artifacts,
    child_of,
    run_gate_and_register,
)


def test_the_contents_of_the_runs(run):
    """Everything once, although it is logged twice."""
    parent = run_gate_and_register(run).run
    run_gate_and_register(run)
    registry = client()
    child = child_of(parent)
    checkpoint = Path(registry.download_artifacts(child.info.run_id, "checkpoint"))
    assert read_checkpoint(checkpoint).digest == read_checkpoint(Path("checkpoints/r0004")).digest
    assert {path.name for path in checkpoint.iterdir()} == {
        path.name for path in Path("checkpoints/r0004").iterdir()
    }
    pictures = [path for path in artifacts(child.info.run_id, "images") if path.endswith(".png")]
    assert sorted(path.split("+step+")[1].split("+")[0] for path in pictures) == ["0", "3"]
    for logged in (parent, child.info.run_id):
        readings = registry.get_metric_history(logged, "system/gpu_percent")
        assert [(reading.value, reading.timestamp) for reading in readings] == [(98.0, 1795598024500)]
        assert not registry.get_metric_history(logged, "system/memory_gib"), "there were no readings"
        assert [measure.value for measure in registry.get_metric_history(logged, "measures/ms_ssim")] == [0.4]
        (dataset,) = registry.get_run(logged).inputs.dataset_inputs
        digest = Manifest.from_json(read_json(Path("multires/dataset.json"))).digest
        assert (dataset.dataset.name, dataset.dataset.digest) == ("noise", digest[:36])
        source = mlflow.data.get_source(dataset.dataset)
        assert Path(source.load()).samefile("multires")
    for name, size in {"samples.png": (1660, 830), "preview.png": (830, 415)}.items():
        assert Image.open(registry.download_artifacts(parent, name)).size == size
    assert params.load(Path(registry.download_artifacts(parent, "params.yaml"))) == run


def test_an_incomplete_child_run_is_logged_again(run):
    first = run_gate_and_register(run)
    registry = client()
    child = child_of(first.run)
    registry.update_run(child.info.run_id, "RUNNING")
    registry.delete_model_version_tag(run.register.model, "1", "gate")
    assert run_gate_and_register(run) == first
    (again,) = phase_runs(registry, first.run)
    assert again.info.status == "FINISHED"
    assert again.info.run_id != child.info.run_id
    assert registry.get_model_version(run.register.model, "1").tags["gate"] == "passed"


def test_params_stay_as_they_were_logged(tmp_path, monkeypatch):
    """On a cluster their keys are sorted, on a laptop they have the order of params.yaml."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    registry = client()
    run = registry.create_run(registry.create_experiment("faces", tmp_path.as_uri())).info.run_id
    _log_params(registry, run, {"loss_parameters": {"penalty": 10.0, "drift": 0.001}})
    _log_params(registry, run, {"loss_parameters": {"drift": 0.001, "penalty": 10.0}, "seed": 1})
    assert registry.get_run(run).data.params == {
        "loss_parameters": '{"drift":0.001,"penalty":10.0}',
        "seed": "1",
    }
