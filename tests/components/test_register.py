"""The registry: what is registered, what is not, and that it serves without this project."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from components.gate.stage import gate
from components.register.registry import champion_measures, client
from components.register.runs import RunFiles
from components.register.served_generator import ServedGenerator
from components.register.stage import register
from progan.files import read_json, write_json
from progan.models import build_networks
from progan.snapshots import SnapshotFolder, prefixed, read_checkpoint
from progan.store import FolderStore
from progan.training import Hooks, PhaseTrainer

QUIET = Hooks(lambda done, total: None, lambda generator, alpha: 50.0, lambda: False)


@pytest.fixture
def run(tmp_path, monkeypatch, small_config, noise):
    """A finished run of one phase in an otherwise empty project folder."""
    from components.train_phase.stage import _write_history

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    config = small_config
    for key in ("r0008", "r0016"):
        del config.phases[key]
    images, labels = noise[:, :, :4, :4].copy(), np.arange(64) % 3
    trainer = PhaseTrainer(config, config.phases["r0004"], images, "data", None, torch.device("cpu"), labels)
    trainer.train(SnapshotFolder(FolderStore(Path("snapshots")), "r0004", trainer.fingerprint), QUIET)
    trainer.write_checkpoint(Path("checkpoints/r0004"), {"name": "noise", "images": 64, "digest": "data"})
    _write_history(Path("history/r0004.csv"), trainer.history)
    evaluation = {
        "phase": "r0004",
        "resolution": 4,
        "kimg": 0.08,
        "fingerprint": trainer.fingerprint,
        "dataset": "data",
        "swd": {"16": 50.0, "average": 50.0},
        "ms_ssim": 0.4,
        "classifier_score": 2.0,
    }
    write_json(Path("evaluation/r0004.json"), evaluation)
    Path("samples").mkdir()
    Path("samples/r0004.png").write_bytes(b"not looked at here")
    return config


def run_gate_and_register(config):
    gate(config, Path("evaluation/r0004.json"), Path("verdict.json"))
    files = RunFiles.below(Path(), Path("checkpoints/r0004"))
    register(config, files, Path("registration.json"))
    return read_json(Path("registration.json"))


def failing(config):
    evaluation = read_json(Path("evaluation/r0004.json"))
    write_json(Path("evaluation/r0004.json"), evaluation | {"ms_ssim": 1.5})
    return config


def test_a_passing_generator_is_registered_once(run):
    first = run_gate_and_register(run)
    again = run_gate_and_register(run)
    assert first == again
    assert first["version"] == "1"
    registry = client()
    version = registry.get_model_version_by_alias(run.register.model, "candidate")
    assert str(version.version) == "1"
    assert version.tags["gate"] == "passed"
    assert version.tags["swd_average"] == "50.0"
    assert version.tags["dataset"] == "data"
    assert len(version.tags["git_commit"]) >= 4
    assert json.loads(version.tags["verdict"])["passed"] is True
    experiment = registry.get_experiment_by_name(run.register.model).experiment_id
    runs = registry.search_runs([experiment])
    assert len(runs) == 2
    child = next(found for found in runs if "mlflow.parentRunId" in found.data.tags)
    assert child.data.tags["phase"] == "r0004"
    assert child.data.tags["mlflow.parentRunId"] == first["run"]
    assert child.data.params["minibatch"] == "8"
    losses = registry.get_metric_history(child.info.run_id, "d_loss")
    assert losses[-1].step == round(0.08)
    assert np.isfinite([loss.value for loss in losses]).all()


def test_a_child_run_that_was_cut_off_is_logged_anew(run):
    first = run_gate_and_register(run)
    registry = client()
    experiment = registry.get_experiment_by_name(run.register.model).experiment_id
    children_of_run = f"tags.`mlflow.parentRunId` = '{first['run']}'"
    child = registry.search_runs([experiment], children_of_run)[0]
    registry.update_run(child.info.run_id, "RUNNING")
    registry.delete_model_version_tag(run.register.model, "1", "gate")
    assert run_gate_and_register(run) == first
    children = registry.search_runs([experiment], children_of_run)
    assert [found.info.status for found in children] == ["FINISHED"]
    assert children[0].info.run_id != child.info.run_id
    assert registry.get_model_version(run.register.model, "1").tags["gate"] == "passed"


def test_an_image_without_git_knows_its_commit(run, monkeypatch):
    monkeypatch.setenv("PATH", "")
    run_gate_and_register(run)
    assert client().get_model_version(run.register.model, "1").tags["git_commit"] == "none"
    monkeypatch.setenv("PROGAN_GIT_COMMIT", "c0ffee")
    run_gate_and_register(run)
    assert client().get_model_version(run.register.model, "1").tags["git_commit"] == "c0ffee"


def test_a_failing_generator_is_not(run, capsys):
    made = run_gate_and_register(failing(run))
    assert made["version"] is None
    assert client().search_registered_models() == []
    shown = capsys.readouterr().out
    assert "FAILED, nothing will be registered" in shown
    assert "✗ ms_ssim is 1.5; not at most 1, the limit" in shown
    assert client().get_run(made["run"]).data.tags["gate"] == "failed"


def test_the_champion_is_what_candidates_are_measured_against(run):
    assert champion_measures(run.register.model) is None
    run_gate_and_register(run)
    assert champion_measures(run.register.model) is None
    client().set_registered_model_alias(run.register.model, "champion", "1")
    assert champion_measures(run.register.model)["swd_average"] == 50.0
    evaluation = read_json(Path("evaluation/r0004.json"))
    worse = evaluation | {"swd": {"16": 80.0, "average": 80.0}, "fingerprint": "another"}
    write_json(Path("evaluation/r0004.json"), worse)
    gate(run, Path("evaluation/r0004.json"), Path("verdict.json"))
    verdict = read_json(Path("verdict.json"))
    assert not verdict["passed"]
    assert "1.1 × the champion's 50" in verdict["reasons"][-1]["text"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"generator_norm": "batch", "generator_activation": "relu", "output": "tanh", "latent_norm": "none"},
        {"equalized_lr": False, "generator_norm": "none", "fused_scaling": True, "convs_per_block": 1},
    ],
    ids=["final", "row a", "others"],
)
def test_every_form_of_generator_is_served(small_config, tmp_path, changes):
    network = replace(small_config.network, **changes)
    trained, _ = build_networks(network, 8)
    with torch.no_grad():
        trained(torch.randn(16, 8))  # leaves its mark on running statistics
    save_file(prefixed("ema", trained.state_dict()), tmp_path / "networks")
    write_json(tmp_path / "facts", {"network": asdict(network), "resolution": 8, "dataset": {}})
    model = ServedGenerator()
    model.load_context(SimpleNamespace(artifacts={name: tmp_path / name for name in ("networks", "facts")}))
    latents = torch.randn(3, 8)
    with torch.no_grad():
        images = trained.eval()(latents).permute(0, 2, 3, 1).numpy()
    served = model.predict(None, pd.DataFrame({"latents": latents.tolist()}))
    np.testing.assert_array_equal(served, (images * 127.5 + 127.5).round().clip(0, 255))


LOAD_ELSEWHERE = """
import sys
sys.path[:] = [path for path in sys.path if path not in ("", sys.argv[1])]
sys.path.append(sys.argv[2])
try:
    import progan
    sys.exit("this project is installed here: nothing would be shown")
except ImportError:
    pass
import mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[3])
np.save("latents.npy", model.predict({"latents": np.load("in.npy")}))
np.save("seeds.npy", model.predict({"seeds": [7, 8]}))
try:
    model.predict({"latents": np.zeros((2, 5), np.float32)})
except mlflow.MlflowException as error:
    print(error.error_code, error)
"""


def load_elsewhere(model):
    """What a process says that has neither this project nor pickle, and gives `model` in.npy."""
    site = Path(mlflow.__file__).parents[1]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-S", "-c", LOAD_ELSEWHERE, str(root), str(site), f"models:/{model}@candidate"],
        env={**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def expected_images(run, latents):
    generator, _ = build_networks(run.network, 4)
    generator.load_state_dict(read_checkpoint(Path("checkpoints/r0004")).networks("ema"))
    with torch.no_grad():
        return (generator(latents).permute(0, 2, 3, 1).numpy() * 127.5 + 127.5).round().clip(0, 255)


def test_the_model_loads_without_this_project_and_without_pickle(run):
    run_gate_and_register(run)
    random = torch.Generator().manual_seed(7)
    latents = torch.stack([torch.randn(8, generator=random), torch.ones(8)])
    np.save("in.npy", latents.numpy())
    said = load_elsewhere(run.register.model)
    expected = expected_images(run, latents)
    served = np.load("latents.npy")
    assert served.dtype == np.uint8
    assert served.shape == (2, 4, 4, 3)
    np.testing.assert_array_equal(served, expected)
    np.testing.assert_array_equal(np.load("seeds.npy")[0], expected[0])
    assert "INVALID_PARAMETER_VALUE" in said
    assert "inputs.latents: N lists of 8 finite numbers are expected, not [2, 5]" in said


def test_a_server_keeps_the_model_in_postgres_and_s3(run, tracking, monkeypatch):
    for name, value in tracking.environment.items():
        monkeypatch.setenv(name, value)
    made = run_gate_and_register(run)
    assert made["version"] == "1"
    row = f"select run_id from model_versions where name = '{run.register.model}' and version = 1"
    assert in_database(tracking.database, row) == [(made["run"],)]
    stored = tracking.storage.client().list_objects_v2(Bucket=tracking.bucket)["Contents"]
    weights = [entry["Key"] for entry in stored if entry["Key"].endswith("artifacts/networks.safetensors")]
    assert len(weights) == 1
    latents = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    np.save("in.npy", latents.numpy())
    load_elsewhere(run.register.model)
    np.testing.assert_array_equal(np.load("latents.npy"), expected_images(run, latents))


def in_database(variables, query):
    import psycopg

    names = {
        "host": "PGHOST",
        "port": "PGPORT",
        "user": "PGUSER",
        "password": "PGPASSWORD",
        "dbname": "PGDATABASE",
    }
    with psycopg.connect(**{name: variables[variable] for name, variable in names.items()}) as connection:
        return connection.execute(query).fetchall()
