"""The registered model: every architecture, and what a server keeps of it."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.artifacts import download_artifacts
from safetensors.torch import load_file

from components.gate.stage import gate
from components.register.registration import Registration
from components.register.served_generator import ServedGenerator
from components.tracking.client import client
from progan import config
from progan.checkpoints import FACTS, NETWORKS, prefixed, read_checkpoint, stripped, write_checkpoint
from progan.networks import build_networks
from tests.checkpoints import facts_of
from tests.commands import at_once
from tests.components.register.finished_run import artifacts, child_of

REGISTER = """
from components.tracking.client import client
from components.register.finished_runs import RunFiles
from components.register.stage import register
from components import stages
from pathlib import Path
from progan import config
loaded = config.load()
files = RunFiles(**stages.task(loaded, "register").paths() | {"dataset": Path("multires")})
client().search_registered_models()
wait()
register(loaded, files, "multires")
"""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"generator_norm": "batch", "generator_activation": "relu", "output": "tanh", "latent_norm": "none"},
        {"equalized_lr": False, "generator_norm": "none", "fused_scaling": True, "convs_per_block": 1},
    ],
    ids=["final", "row a", "others"],
)
def test_every_architecture_is_served(small_config, tmp_path, changes):
    network = replace(small_config.network, **changes)
    trained, _ = build_networks(network, 8)
    with torch.no_grad():
        trained(torch.randn(16, 8))  # updates running statistics
    folder = tmp_path / "artifacts"
    write_checkpoint(folder, facts_of("r0008", network=network), prefixed("ema", trained.state_dict()), None)
    model = ServedGenerator()
    model.load_context(SimpleNamespace(artifacts={"networks": folder / NETWORKS, "facts": folder / FACTS}))
    latents = torch.randn(3, 8)
    with torch.no_grad():
        images = trained.eval()(latents).permute(0, 2, 3, 1).numpy()
    parameters = {"label": None, "truncation": 1.0, "format": "pixels"}
    served = model.predict(None, pd.DataFrame({"latents": latents.tolist()}), parameters)
    np.testing.assert_array_equal(served, (images * 127.5 + 127.5).round().clip(0, 255))


def test_a_server_keeps_the_model_of_two_registrations_at_once(run, tracking, monkeypatch, tmp_path_factory):
    """From two copies of the project: one run of each kind and one version, in PostgreSQL and S3."""
    for name, value in tracking.environment.items():
        monkeypatch.setenv(name, value)
    gate(run, Path("evaluation/r0004.json"), Path("verdict.json"))
    Path("params.yaml").write_text(config.to_text(run))
    copy = shutil.copytree(Path.cwd(), tmp_path_factory.mktemp("copy"), dirs_exist_ok=True)
    at_once(REGISTER, {"root": Path.cwd()}, {"root": copy})
    registration = Registration.read(Path("registration.json"))
    assert registration == Registration.read(copy / "registration.json")
    registry, model = client(), run.register.model
    runs = registry.search_runs([registry.get_experiment_by_name(model).experiment_id])
    assert [each.info.status for each in runs] == ["FINISHED"] * 2
    child = child_of(registration.run).info.run_id
    assert {each.info.run_id for each in runs} == {registration.run, child}
    assert "checkpoint" in artifacts(child)
    (version,) = registry.search_model_versions(f"name = '{model}'")
    candidate = registry.get_model_version_by_alias(model, "candidate")
    assert str(version.version) == str(candidate.version) == registration.version

    row = f"select run_id from model_versions where name = '{model}' and version = {version.version}"
    assert in_database(tracking.database, row) == [(registration.run,)]
    stored = tracking.storage.client().list_objects_v2(Bucket=tracking.bucket)["Contents"]
    assert [entry for entry in stored if entry["Key"].endswith("artifacts/networks.safetensors")]
    [networks] = Path(download_artifacts(f"models:/{model}@candidate")).rglob(NETWORKS)
    trained = read_checkpoint(Path("checkpoints/r0004")).networks("ema")
    served = stripped("ema", load_file(networks))
    assert served.keys() == trained.keys()
    assert all(torch.equal(served[name], trained[name]) for name in trained)


def in_database(variables, query):
    import psycopg

    text = psycopg.conninfo.make_conninfo(
        host=variables["PGHOST"], port=variables["PGPORT"], user=variables["PGUSER"],
        password=variables["PGPASSWORD"], dbname=variables["PGDATABASE"],
    )  # fmt: skip
    with psycopg.connect(text) as connection:
        return connection.execute(query).fetchall()
