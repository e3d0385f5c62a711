"""Warm starts: the champion's checkpoint from a real registry, new data, the same bits as from the folder."""

import copy
import json
import random
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from components.register.registry import CHAMPION
from components.register.stage import _warm_start_tag
from components.tracking.client import client
from components.train.stage import train
from components.warm_start import component
from components.warm_start.registered import find_run, of_champion
from components.warm_start.stage import warm_start
from pipelines.planning.warm_start import start_from_champion, write
from progan import config
from progan.checkpoints import read_checkpoint
from progan.dataset.build import build
from progan.errors import InputError
from progan.files import sha256_file
from progan.store import FolderStore
from tests.commands import Command
from tests.conftest import start_project
from tests.full_disk import repeat_until_it_fits, size_of


def register_version(model, phase, checkpoint, tags=None):
    """A version as `register` makes one, as far as warm starts look at it: a parent run and a phase's run."""
    registry = client()
    found = registry.get_experiment_by_name(model)
    experiment = found.experiment_id if found else registry.create_experiment(model)
    parent = registry.create_run(experiment).info.run_id
    child = registry.create_run(experiment, tags={"mlflow.parentRunId": parent, "phase": phase}).info.run_id
    registry.log_artifacts(child, str(checkpoint), "checkpoint")
    if not registry.search_registered_models(f"name = '{model}'"):
        registry.create_registered_model(model)
    made = registry.create_model_version(model, f"runs:/{parent}/generator", parent, tags=tags or {})
    registry.set_registered_model_alias(model, CHAMPION, made.version)
    return str(made.version)


def photographs_of(seed, folder):
    """24 rough colourful pictures."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(24):
        rough = random.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(rough).resize((16, 16), Image.Resampling.BICUBIC).save(folder / f"{number:02d}.png")
    return str(folder)


@pytest.fixture(scope="module")
def champion(tmp_path_factory, empty_registry):
    """A project whose champion has a checkpoint of r0004; the contents of its params.yaml."""
    from tests.conftest import shrunk_params

    root = tmp_path_factory.mktemp("champion")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(empty_registry, root)}")
        values = shrunk_params()
        source = {"source": "folder", "label_attributes": [], "path": photographs_of(1, root / "old")}
        values["dataset"] |= source
        values["gate"]["stop_after"] = "r0004"
        loaded = config.parse(values, "params.yaml")
        build(loaded.dataset, Path("multires"), workers=1)
        train_phase(loaded, "r0004", Path("multires"), None, Path("checkpoints"))
        register_version(loaded.register.model, "r0004", root / "checkpoints/r0004")
        yield values


def train_phase(loaded, key, data, init, out):
    files = FolderStore(out / "snapshots"), out / key, out / f"{key}.csv", out / "grids" / key
    train(loaded, key, "identity", data, init, *files)
    return sha256_file(out / key / "networks.safetensors")


def test_new_data_from_the_champion_is_as_from_its_folder(champion, tmp_path):
    values = start_from_champion(champion, config.parse(champion, ""), "r0004")
    values["dataset"]["path"] = photographs_of(2, tmp_path / "new")
    loaded = config.parse(values, "params.yaml")
    assert list(loaded.phases) == ["r0008", "r0016"]
    assert loaded.gate.stop_after is None
    build(loaded.dataset, tmp_path / "multires", workers=1)

    warm_start(loaded, "r0004", tmp_path / "fetched/r0004")
    champions = Path("checkpoints/r0004")
    for name in ("networks.safetensors", "optimizers.safetensors", "checkpoint.json"):
        assert (tmp_path / "fetched/r0004" / name).read_bytes() == (champions / name).read_bytes()
    fetched = tmp_path / "fetched"
    warm = train_phase(loaded, "r0008", tmp_path / "multires", fetched / "r0004", fetched)
    assert warm == train_phase(loaded, "r0008", tmp_path / "multires", champions, tmp_path / "folder")
    assert warm != train_phase(loaded, "r0008", Path("multires"), champions, tmp_path / "old data")
    facts = read_checkpoint(tmp_path / "fetched/r0008").facts
    assert facts.images_shown == 80 + 160  # the champion's, and its own


@pytest.mark.slow
def test_killed_and_without_room_it_fetches_the_same_bytes(champion, small_disk, tmp_path):
    project, log, moments = small_disk("64m"), tmp_path / "log", random.Random(0)
    start_project(project, start_from_champion(champion, config.parse(champion, ""), "r0004"))
    shutil.copy("mlflow.db", project)
    fetched = project / "checkpoints/r0004"
    expected = {file.name: file.read_bytes() for file in Path("checkpoints/r0004").iterdir()}
    repeat_until_it_fits("warm-start r0004", project, log, size_of(Path("checkpoints/r0004")) // 20)
    assert {file.name: file.read_bytes() for file in fetched.iterdir()} == expected

    shutil.rmtree(fetched)
    subprocess.run(["mount", "-o", "remount,size=64m", project], check=True)
    for _ in range(8):
        Command("warm-start r0004", project, log).kill_after(moments.uniform(0, 1.5))
    assert Command("warm-start r0004", project, log).end()[0] == 0
    assert {file.name: file.read_bytes() for file in fetched.iterdir()} == expected


def test_as_kubeflow_runs_it_and_as_the_version_names_it(champion, tmp_path):
    """The component's own body, with an artifact in the place of checkpoints/r0004; the tag `warm_start`."""
    loaded = config.parse(start_from_champion(champion, config.parse(champion, ""), "r0004"), "")
    artifact = SimpleNamespace(path=str(tmp_path / "artifact"))
    component.warm_start.python_func(config.to_text(loaded), "r0004", str(tmp_path / "results"), artifact)
    assert read_checkpoint(Path(artifact.path)).digest == loaded.warm_start["r0004"].checkpoint
    tag = json.loads(_warm_start_tag(loaded)["warm_start"])
    digest = read_checkpoint(Path("checkpoints/r0004")).digest
    assert tag == {"model": loaded.register.model, "version": "1", "phase": "r0004", "checkpoint": digest}
    assert _warm_start_tag(config.parse(champion, "")) == {}


def test_a_champion_that_was_warm_started_itself_leads_to_its_own_start(champion, tmp_path):
    """It has no run of r0004; the version that it came from has. A damaged checkpoint.json is reported."""
    model, loaded = champion["register"]["model"], config.parse(champion, "")
    tag = json.dumps({"model": model, "version": "1", "phase": "r0004"})
    version = register_version(model, "r0008", Path("checkpoints/r0004"), {"warm_start": tag})
    try:
        assert find_run(model, version, "r0004") == find_run(model, "1", "r0004")
        start = of_champion(loaded, "r0004")
        assert (start.version, start.checkpoint) == (
            version,
            read_checkpoint(Path("checkpoints/r0004")).digest,
        )
        shutil.copytree("checkpoints/r0004", tmp_path / "r0004")
        (tmp_path / "r0004/checkpoint.json").write_text("{}")
        version = register_version(model, "r0004", tmp_path / "r0004")
        message = (
            f"^{model} version {version}, r0004: its checkpoint.json in MLflow is damaged, .*; choose another"
        )
        with pytest.raises(InputError, match=message):
            of_champion(loaded, "r0004")
    finally:
        client().set_registered_model_alias(model, CHAMPION, "1")


@pytest.mark.parametrize(
    "tag", ["{", "[]", "null", '{"model": "faces"}', '{"model": "MODEL", "version": "VERSION"}']
)
def test_a_tag_of_a_warm_start_that_was_edited(champion, tag):
    """The last one names its own version."""
    model = champion["register"]["model"]
    version = register_version(model, "r0008", Path("checkpoints/r0004"))
    edited = tag.replace("MODEL", model).replace("VERSION", version)
    client().set_model_version_tag(model, version, "warm_start", edited)
    client().set_registered_model_alias(model, CHAMPION, "1")
    with pytest.raises(InputError, match=f"^{model} version {version}: has no checkpoint of r0004"):
        find_run(model, version, "r0004")


def test_params_are_written_with_their_comments(champion, tmp_path):
    own = Path(__file__).parents[2] / "params.yaml"
    values = yaml.safe_load(own.read_text())
    file = tmp_path / "params.yaml"
    file.write_text(own.read_text())
    changed = copy.deepcopy(values)
    changed["warm_start"] = {"r0008": {"model": "faces", "version": "7", "checkpoint": "ab" * 32}}
    del changed["phases"]["r0004"], changed["phases"]["r0008"]
    write(changed, file)
    assert yaml.safe_load(file.read_text()) == changed
    assert config.load(file).warm_start["r0008"].version == "7"
    kept = [line for line in own.read_text().splitlines() if "#" in line and "warm_start" not in line]
    assert [line for line in kept if line not in file.read_text().splitlines()] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"version": "9"},
            "progan-toy-celeba version 9: not in the MLflow registry; set MLFLOW_TRACKING_URI",
        ),
        ({"model": "faces"}, "faces version 1: not in the MLflow registry"),
        ({"checkpoint": "ab" * 32}, "warm_start.r0004.checkpoint: progan-toy-celeba version 1 has "),
    ],
)
def test_what_the_registry_has_not(champion, tmp_path, change, told):
    values = start_from_champion(champion, config.parse(champion, ""), "r0004")
    values["warm_start"]["r0004"] |= change
    with pytest.raises(InputError, match=told):
        warm_start(config.parse(values, ""), "r0004", tmp_path / "r0004")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_started_from(champion):
    loaded = config.parse(champion, "")
    with pytest.raises(InputError, match="r0016: no phase of params.yaml comes after it; give one of r00"):
        start_from_champion(champion, loaded, "r0016")
    with pytest.raises(InputError, match="version 1: has no checkpoint of r0008 in MLflow; choose another"):
        start_from_champion(champion, loaded, "r0008")
    other = copy.deepcopy(champion)
    other["network"]["fmap_max"] = 4
    with pytest.raises(
        InputError, match=r"another network configuration \(network.fmap_max: 8, in params.yaml 4"
    ):
        start_from_champion(other, config.parse(other, ""), "r0004")
    other["register"]["model"] = "faces"
    with pytest.raises(InputError, match="faces: no version is champion; promote one, then start from it"):
        start_from_champion(other, config.parse(other, ""), "r0004")
    with pytest.raises(
        InputError, match="warm_start.r0004: not in params.yaml; progan start-from-champion r0004"
    ):
        warm_start(loaded, "r0004", Path("nowhere"))
