"""The registry: what is registered, what is not, and that it serves without this project."""

import json
import os
import re
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
from PIL import Image
from safetensors.torch import save_file

from components.gate.stage import gate
from components.register import component, describe
from components.register.history import History
from components.register.promotion import promote
from components.register.registry import champion_measures, client
from components.register.runs import RunFiles
from components.register.served_generator import ServedGenerator
from components.register.stage import register
from components.results import Results
from progan import config as params
from progan.dataset.manifest import ClassCount, Level, Manifest
from progan.files import read_json, write_json
from progan.models import build_networks
from progan.snapshots import SnapshotFolder, prefixed, read_checkpoint
from progan.store import FolderStore
from progan.training import Hooks, PhaseTrainer

READINGS = {
    "time": 1795598024.5, "device": "NVIDIA H100", "gpus": 2, "gpu_percent": 98, "gpu_memory_gib": 40.5,
    "cpu_percent": 110.0, "memory_gib": None,
}  # fmt: skip
QUIET = Hooks(
    lambda done, total: None, lambda generator, alpha: 50.0, lambda: False, machine=lambda: dict(READINGS)
)


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
    grids = dict.fromkeys(["grids/r0004/00014.000.png", "grids/r0004/00017.120.png"], (8, 8))
    for picture, size in {"samples/r0004.png": (1660, 830), **grids}.items():
        Path(picture).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(picture)
    levels = {"r0004": Level.of([])}
    manifest = Manifest(2, "folder", "noise", {}, 0, 3, (), 0, 0, (), {}, levels)
    write_json(Path("multires/dataset.json"), manifest.to_json())
    return config


def run_gate_and_register(config):
    gate(config, Path("evaluation/r0004.json"), Path("verdict.json"))
    register(config, RunFiles.below(Path()), "multires", Path("registration.json"))
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
    losses = registry.get_metric_history(child.info.run_id, "curves/d_loss")
    assert losses[-1].step == round(0.08)
    assert np.isfinite([loss.value for loss in losses]).all()


def artifacts(run, folder=None):
    return [artifact.path for artifact in client().list_artifacts(run, folder)]


def child_of(parent):
    registry = client()
    experiment = registry.get_run(parent).info.experiment_id
    return registry.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")[0]


def test_what_the_runs_hold(run):
    """Once each, however often they are logged."""
    parent = run_gate_and_register(run)["run"]
    run_gate_and_register(run)
    child = child_of(parent)
    kept = Path(mlflow.artifacts.download_artifacts(run_id=child.info.run_id, artifact_path="checkpoint"))
    assert read_checkpoint(kept).digest == read_checkpoint(Path("checkpoints/r0004")).digest
    assert {path.name for path in kept.iterdir()} == {
        path.name for path in Path("checkpoints/r0004").iterdir()
    }
    registry = client()
    pictures = [path for path in artifacts(child.info.run_id, "images") if path.endswith(".png")]
    assert sorted(path.split("+step+")[1].split("+")[0] for path in pictures) == ["0", "3"]
    for logged in (parent, child.info.run_id):
        readings = registry.get_metric_history(logged, "system/gpu_percent")
        assert [(reading.value, reading.timestamp) for reading in readings] == [(98.0, 1795598024500)]
        assert not registry.get_metric_history(logged, "system/memory_gib"), "nothing was read"
        assert [measure.value for measure in registry.get_metric_history(logged, "measures/ms_ssim")] == [0.4]
        (dataset,) = registry.get_run(logged).inputs.dataset_inputs
        digest = Manifest.from_json(read_json(Path("multires/dataset.json"))).digest
        assert (dataset.dataset.name, dataset.dataset.digest) == ("noise", digest[:36])
        source = mlflow.data.get_source(dataset.dataset)
        assert Path(source.load()).samefile("multires")
    for name, size in {"samples.png": (1660, 830), "preview.png": (830, 415)}.items():
        assert Image.open(registry.download_artifacts(parent, name)).size == size
    assert params.load(Path(registry.download_artifacts(parent, "params.yaml"))) == run


def test_a_run_keeps_its_checkpoints_once_it_passes(run):
    evaluation = read_json(Path("evaluation/r0004.json"))
    parent = run_gate_and_register(failing(run))["run"]
    assert artifacts(child_of(parent).info.run_id) == ["images", "preview.png", "samples.png"]
    write_json(Path("evaluation/r0004.json"), evaluation)
    assert run_gate_and_register(run)["run"] == parent
    assert "checkpoint" in artifacts(child_of(parent).info.run_id)


def test_the_descriptions(run):
    """Of a version with a champion before it, of the model, and of the run."""
    run_gate_and_register(run)
    promote(run.register.model, "1", "none", "")
    trained_again("other", {"16": 45.0, "average": 45.0}, ms_ssim=0.3)
    made = run_gate_and_register(run)
    registry = client()
    described = registry.get_model_version(run.register.model, "2").description
    digest = Manifest.from_json(read_json(Path("multires/dataset.json"))).digest
    for told in (
        "Passed: SWD × 1000 45, MS-SSIM 0.3, classifier score 2; 4 px",
        f"![](get-artifact?path=preview.png&run_uuid={made['run']})",
        "### The gate: passed",
        "✓ swd_average is 45; at most 55, 1.1 × the champion's 50",
        "| SWD × 1000&emsp; | 45&emsp; | 50&emsp; | –&emsp; | lower |",
        "| MS-SSIM&emsp; | 0.3&emsp; | 0.4&emsp; |",
        "champion (version 1)",
        f"Dataset **noise** (folder): 0 images, at up to 4 × 4 px, digest `{digest}`",
        "Trained for 0.08 kimg in",
        "on 2 × NVIDIA H100",
        f"mlflow models serve --model-uri models:/{run.register.model}/2 --env-manager local",
        f"mlflow artifacts download --run-id {made['run']}",
        "PROGAN_GPUS=2 make run",
        registry.get_model_version(run.register.model, "2").tags["git_commit"],
    ):
        assert told in described
    assert "price" not in described
    assert "There was no champion" in registry.get_model_version(run.register.model, "1").description
    assert "like those of **noise**" in registry.get_registered_model(run.register.model).description
    note = registry.get_run(made["run"]).data.tags["mlflow.note.content"]
    assert note == described.partition("### Serve it")[0] + "### Make" + described.partition("### Make")[2]


def test_what_a_conditional_run_shows(run):
    """Which row of the samples is which class, and a request that names one, as the server demands."""
    run_gate_and_register(run)
    classes = tuple(ClassCount(name, 1) for name in ("cats", "dogs", "birds"))
    manifest = Manifest(2, "folder", "pets", {}, 3, 3, classes, 0, 0, (), {}, {"r0004": Level.of([])})
    verdict, measures = read_json(Path("verdict.json")), {"r0004": {}}
    histories = {"r0004": History.read(Path("history/r0004.csv"))}

    def described(label_size):
        config = replace(run, network=replace(run.network, label_size=label_size))
        story = describe.RunStory(config, verdict, manifest, histories, measures, "none", "abc")
        return describe.of_version(story, "1"), describe.of_phase(story, "r0004", "def")

    version, phase = described(3)
    for text in (version, phase):
        assert "4 × 4 px. A row of each class, from the top: cats, dogs, birds.*" in text
    asked = re.search(r"--data '(.*)'", version)[1]
    assert json.loads(asked)["params"] == {"label": "0", "format": "png"}
    for text in described(0):
        assert "class," not in text
        assert "label" not in text


def test_what_a_run_on_a_cluster_cost(run):
    """In the description of the version, and of the phase's run."""
    with Path("history/r0004.csv").open("w") as file:
        print("kimg,images,seconds,device,gpus,gpu_hour_price", file=file)
        for images, seconds in ((0, 0), (80, 12060)):
            print(f"{images / 1000},{images},{seconds},NVIDIA H100,2,1.8 USD", file=file)
    parent = run_gate_and_register(run)["run"]
    described = client().get_model_version(run.register.model, "1").description
    cost = "Trained for 0.08 kimg in 3h 21m on 2 × NVIDIA H100 (6.7 GPU-hours, 12.06 USD)."
    assert cost in described
    assert cost in child_of(parent).data.tags["mlflow.note.content"]
    assert "| on&emsp; | price&emsp; |" in described
    assert "| 2 × NVIDIA H100&emsp; | 12.06 USD&emsp; |" in described


def test_measures_stand_beside_those_of_real_images(run):
    run_gate_and_register(run)
    swd = {"swd_32": 28.9, "swd_16": 24.2, "swd_average": 26.5}
    floor = {"swd_floor_32": 6.8, "swd_floor_16": 11.1, "swd_floor_average": 8.9}
    measures = swd | floor | {"ms_ssim": 0.3, "ms_ssim_reals": 0.2, "fid": 9.0, "resolution": 4}
    verdict = read_json(Path("verdict.json")) | {"candidate": measures}
    histories = {"r0004": History.read(Path("history/r0004.csv"))}
    story = describe.RunStory(run, verdict, None, histories, {"r0004": measures}, "none", "abc")
    table = [line.split("&emsp;")[:3] for line in describe.of_run(story).splitlines() if line[:2] == "| "]
    assert ["".join(cells).replace("| ", " ").split() for cells in table[1:6]] == [
        ["SWD", "×", "1000", "26.5", "8.9"],
        ["SWD", "at", "16", "px", "24.2", "11.1"],
        ["SWD", "at", "32", "px", "28.9", "6.8"],
        ["MS-SSIM", "0.3", "0.2"],
        ["FID", "9", "–"],
    ]


def test_the_longest_description_fits_into_the_database(run):
    """Nine phases of a conditional model, each on other cards, with all measures that one run can have."""
    phases = {f"r{2**level:04d}": run.phases["r0004"] for level in range(2, 11)}
    card = {"gpus": "8", "gpu_hour_price": "12.34 USD", "device": "NVIDIA A100-SXM4-80GB"}
    begin, row = ({"seconds": seconds, "images": "12000000"} | card for seconds in ("0", "1e6"))
    several = "swd_average", "swd_floor_average", "ms_ssim", "ms_ssim_reals", "fid", "kid", "inception_score"
    measures = {"resolution": 1024, **dict.fromkeys(several, 1 / 3)}
    measures |= {f"swd_{floor}{2**level}": 1 / 3 for level in range(4, 11) for floor in ("", "floor_")}
    reason = {"passed": True, "text": "swd_average is 23.86; at most 29.17, 1.1 × the champion's 26.51"}
    champion = measures | {"version": "12"}
    verdict = {"passed": True, "reasons": [reason] * 5, "candidate": measures, "champion": champion}
    histories = {key: History([begin, row | {"device": f"{row['device']} {key}"}]) for key in phases}
    classes = tuple(ClassCount("c" * 20, 1) for _ in range(40))
    manifest = Manifest(2, "celeba-hq", "n" * 40, {}, 200_000, 3, classes, 0, 0, (), {}, {})
    network, model = replace(run.network, label_size=40), replace(run.register, model="m" * 60)
    story = describe.RunStory(
        replace(run, network=network, register=model), verdict, manifest, histories,
        dict.fromkeys(phases, measures), "c" * 40, "r" * 32,
    )  # fmt: skip
    assert describe.of_version(story, "123").endswith("make run\n```")


def trained_again(fingerprint, swd, **measures):
    """Leave the evaluation of another run behind."""
    evaluation = read_json(Path("evaluation/r0004.json"))
    changes = {"swd": swd, "fingerprint": fingerprint, **measures}
    write_json(Path("evaluation/r0004.json"), evaluation | changes)


def test_a_verdict_of_no_on_what_was_registered(run):
    """It is told, is no candidate any more, and cannot become champion."""
    run_gate_and_register(run)
    assert run_gate_and_register(failing(run))["version"] is None
    registry = client()
    version = registry.get_model_version(run.register.model, "1")
    assert (version.tags["gate"], version.aliases) == ("failed", [])
    assert "✗ ms_ssim is 1.5" in version.description


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
    monkeypatch.setenv("PROGAN_GIT_COMMIT", "1a7e2")
    run_gate_and_register(run)
    assert client().get_model_version(run.register.model, "1").tags["git_commit"] == "c0ffee"
    assert "git checkout c0ffee" in client().get_model_version(run.register.model, "1").description


def test_a_failing_generator_is_not(run, capsys):
    made = run_gate_and_register(failing(run))
    assert made["version"] is None
    assert client().search_registered_models() == []
    shown = capsys.readouterr().out
    assert "FAILED, nothing will be registered" in shown
    assert "✗ ms_ssim is 1.5; not at most 1, the limit" in shown
    assert client().get_run(made["run"]).data.tags["gate"] == "failed"


def test_a_cluster_logs_what_failed_too(run):
    """The task comes after every verdict, and takes what the tasks before it kept."""
    kept = Results("results", run, "data", "run-1")
    last = SimpleNamespace(path=str(Path("checkpoints/r0004").resolve()))
    trained = Path("checkpoints/r0004"), Path("history/r0004.csv"), Path("grids/r0004")
    kept.keep_training("r0004", *trained)
    evaluation = read_json(Path("evaluation/r0004.json"))

    def registered(ms_ssim):
        write_json(Path("evaluation/r0004.json"), evaluation | {"ms_ssim": ms_ssim})
        samples = Path("samples/r0004.png")
        kept.keep_evaluation("r0004", Path("evaluation/r0004.json"), samples, samples)
        gate(run, Path("evaluation/r0004.json"), Path("verdict.json"))
        kept.keep_for_run(Path("verdict.json"))
        component.register.python_func(
            params=params.to_text(run), params_digest="", dataset_uri="multires", dataset_digest="data",
            results="results", run="run-1", checkpoint=last,
        )  # fmt: skip
        return read_json(Path("results/runs/run-1/registration.json"))

    for ms_ssim in (1.5, None):
        assert registered(ms_ssim)["version"] is None
        assert client().search_registered_models() == []
    child = child_of(registered(1.5)["run"])
    assert artifacts(child.info.run_id) == ["images", "preview.png", "samples.png"]
    made = registered(0.4)
    assert made["version"] == "1"
    assert "checkpoint" in artifacts(child_of(made["run"]).info.run_id)


def test_the_champion_is_what_candidates_are_measured_against(run):
    assert champion_measures(run.register.model) is None
    run_gate_and_register(run)
    assert champion_measures(run.register.model) is None
    promote(run.register.model, "1", "none", "nan")
    assert champion_measures(run.register.model)["swd_average"] == 50.0
    trained_again("another", {"16": 80.0, "average": 80.0})
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


def test_the_pages_of_a_server(run, tracking, browser, monkeypatch):
    """What a person sees who opens the version's page, and from there its run and a phase."""
    for name, value in tracking.environment.items():
        monkeypatch.setenv(name, value)
    parent = run_gate_and_register(run)["run"]
    version = client().get_model_version(run.register.model, "1")
    experiment, child = client().get_run(parent).info.experiment_id, child_of(parent).info.run_id
    names = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
    page = browser(tracking.server.url, tuple(tracking.environment[name] for name in names))

    page.open(f"#/models/{run.register.model}/versions/1")
    assert page.picture("preview.png") == (830, 415)
    page.shows(
        "candidate",
        "Passed: SWD × 1000 50",
        "✓ swd_average is 50; at most 1e+06, the limit",
        "There was no champion to compare with.",
        "Dataset noise (folder): 0 images",
        "Trained for 0.08 kimg in",
        "on 2 × NVIDIA H100",
        version.tags["git_commit"],
        f"mlflow models serve --model-uri models:/{run.register.model}/1",
        "make run",
    )
    page.open(f"#/experiments/{experiment}/runs/{parent}")
    page.shows("Child runs", "r0004", "noise (", "network.latent_size", "v1")
    page.open(f"#/experiments/{experiment}/runs/{child}/model-metrics")
    page.shows("curves", "d_loss", "swd", "alpha", "curves/same latents", "measures")
    page.open(f"#/experiments/{experiment}/runs/{child}/system-metrics")
    page.shows("gpu_percent", "cpu_percent")


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
