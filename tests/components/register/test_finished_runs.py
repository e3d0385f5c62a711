"""The contents of a run in MLflow, however often it is logged."""

import shutil
from pathlib import Path

import mlflow
import pytest
from PIL import Image

from components.register.finished_runs import log_params
from components.tracking.client import client
from components.tracking.runs import phase_runs
from progan import config as params
from progan.checkpoints import read_checkpoint
from progan.history import History
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
    assert sorted(path.split("+step+")[1].split("+")[0] for path in pictures) == ["0", "3120"]
    rows = History.read(Path("history/r0004.csv")).rows
    for logged in (parent, child.info.run_id):
        readings = registry.get_metric_history(logged, "system/gpu_percent")
        assert {(reading.value, reading.timestamp) for reading in readings} == {(98.0, 1795598024500)}
        assert [reading.step for reading in readings] == [row.images for row in rows]
        assert not registry.get_metric_history(logged, "system/memory_gib"), "there were no readings"
        assert [measure.value for measure in registry.get_metric_history(logged, "measures/ms_ssim")] == [0.4]
        (dataset,) = registry.get_run(logged).inputs.dataset_inputs
        assert (dataset.dataset.name, dataset.dataset.digest) == ("noise", "data")
        source = mlflow.data.get_source(dataset.dataset)
        assert Path(source.load()).samefile("multires")
    for name, size in {"samples.png": (1660, 830), "preview.png": (830, 415)}.items():
        assert Image.open(registry.download_artifacts(parent, name)).size == size
    assert params.load(Path(registry.download_artifacts(parent, "params.yaml"))) == run


def test_what_an_incomplete_child_run_lacks_is_added(run):
    first = run_gate_and_register(run)
    registry = client()
    child = child_of(first.run).info.run_id
    shutil.rmtree(Path(registry.download_artifacts(child, "checkpoint")))
    registry.update_run(child, "RUNNING")
    registry.delete_model_version_tag(run.register.model, "1", "gate")
    assert run_gate_and_register(run) == first
    (again,) = phase_runs(registry, first.run)
    assert (again.info.status, again.info.run_id) == ("FINISHED", child)
    assert "checkpoint" in artifacts(child)
    assert len([path for path in artifacts(child, "images") if path.endswith(".png")]) == 2
    assert registry.get_model_version(run.register.model, "1").tags["gate"] == "passed"


@pytest.mark.usefixtures("registry")
def test_params_stay_as_they_were_logged(tmp_path):
    """MLflow does not allow changes, and takes 100 at a time."""
    registry = client()
    run = registry.create_run(registry.create_experiment("faces", tmp_path.as_uri())).info.run_id
    many = {f"r{number}": {"stable_kimg": 0.5} for number in range(150)}
    for values in ({"seed": 1, "text": "1"}, {"seed": 2, "classes": ("a",), "phases": many}):
        log_params(registry, registry.get_run(run), values)
    params = registry.get_run(run).data.params
    assert len(params) == 153
    assert (params["seed"], params["classes"], params["phases.r7.stable_kimg"]) == ("1", '["a"]', "0.5")
