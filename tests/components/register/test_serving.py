"""The registered model behind MLflow's own server, and the commands that download it."""

import base64
import io
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import av
import numpy as np
import pytest
import requests
import torch
from PIL import Image

from components.pictures.generate import generate
from components.pictures.sources import phases_of
from components.pictures.timelapse import timelapse
from components.register import download
from components.register.model import log_model
from components.tracking.client import client
from progan import config
from progan.checkpoints import read_checkpoint
from progan.errors import InputError, Unavailable
from progan.sampling import Sampler, latents_of_seeds
from tests.checkpoints import image_of, write_made_checkpoint
from tests.conftest import shrunk_params
from tests.servers import Server, free_port

CLASSES = ["cats", "dogs"]
CHAMPION = "models:/pets@champion"
WITHOUT_THIS_PROJECT = """
import sys
from importlib.util import find_spec

sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in str(finder).lower()]
if find_spec("progan"):
    sys.exit("this project is installed here: the tests would prove nothing")
"""


@pytest.fixture(scope="module")
def generators(tmp_path_factory, empty_registry):
    """The generators of the phases, by resolution. In the registry, the model "pets", of cats and dogs, has
    version 1, the champion, with all checkpoints of its run, and version 2, whose run has none."""
    import mlflow

    folder = tmp_path_factory.mktemp("registry")
    network = replace(config.parse(shrunk_params(), "params.yaml").network, label_size=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        shutil.copy(empty_registry, folder)
        registry = client()
        experiment = registry.create_experiment("pets", (folder / "artifacts").as_uri())
        parent = registry.create_run(experiment).info.run_id
        generators, checkpoint = {}, None
        for side in (4, 8, 16):
            before, checkpoint = checkpoint, folder / f"checkpoints/r{side:04d}"
            generators[side] = write_made_checkpoint(checkpoint, network, side, CLASSES, side, before)
            tags = {"mlflow.parentRunId": parent, "phase": checkpoint.name}
            child = registry.create_run(experiment, tags=tags).info.run_id
            registry.log_artifacts(child, str(checkpoint), "checkpoint")
            registry.set_terminated(child)
        for run in (parent, registry.create_run(experiment).info.run_id):
            with mlflow.start_run(run_id=run):
                log_model("pets", read_checkpoint(checkpoint), {})
        registry.set_registered_model_alias("pets", "champion", "1")
        yield generators


@pytest.fixture(scope="module")
def server(generators, tmp_path_factory):
    """MLflow's server of the champion; its processes can neither import this project nor unpickle."""
    folder, port = tmp_path_factory.mktemp("server"), str(free_port())
    (folder / "sitecustomize.py").write_text(WITHOUT_THIS_PROJECT)
    environment = {"PYTHONPATH": str(folder), "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", CHAMPION]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", port]
    started = Server(command, f"http://127.0.0.1:{port}", "/ping", folder / "log", environment)
    started.start()
    yield started
    started.stop()


def ask(server, inputs, **params):
    return requests.post(f"{server.url}/invocations", json={"inputs": inputs, "params": params}, timeout=60)


def served(server, inputs, **params):
    answer = ask(server, inputs, **params)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def test_seeds_and_latents_of_a_class(generators, server):
    expected = np.stack([image_of(generators[16], seed, 1) for seed in (7, 8, 2**40)])
    images = np.array(served(server, {"seeds": [7, 8, 2**40]}, label="dogs"), np.uint8)
    assert images.tobytes() == expected.tobytes()
    latents = latents_of_seeds([7, 8, 2**40], 8).tolist()
    assert np.array_equal(served(server, {"latents": latents}, label="1"), expected)
    assert np.array_equal(served(server, {"seeds": 7}, label="dogs"), expected[:1])
    assert not np.array_equal(served(server, {"seeds": [7]}, label="cats"), expected[:1])


def test_truncation_is_that_of_the_sampler(generators, server):
    sampler = Sampler(generators[16], CLASSES)
    expected = next(sampler.images(latents_of_seeds([7, 8], 8), torch.tensor([0, 0]), 0.6))
    images = np.array(served(server, {"seeds": [7, 8]}, label="cats", truncation=0.6), np.uint8)
    np.testing.assert_array_equal(images, expected.permute(0, 2, 3, 1))
    first, second = served(server, {"seeds": [7, 8]}, label="cats", truncation=0)
    assert first == second


def test_png_files(server):
    (answer,) = served(server, {"seeds": [7]}, label="cats", format="png")
    image = Image.open(io.BytesIO(base64.b64decode(answer)))
    assert image.format == "PNG"
    assert np.array_equal(np.asarray(image), served(server, {"seeds": [7]}, label="cats")[0])


@pytest.mark.parametrize(
    ("inputs", "params", "message"),
    [
        ({"latents": [[1, 2, 3]]}, {}, "latents: N lists of 8 finite numbers are expected, not [1, 3]"),
        ({"latents": [[0] * 8, [0] * 7]}, {}, "inputs.latents: N lists of 8 numbers are expected"),
        ({"latents": [[0] * 7 + [None]]}, {}, "inputs.latents: N lists of 8 finite numbers are expected"),
        ({"seeds": [1.5]}, {}, "inputs.seeds: a list of whole numbers is expected, not [1.5]"),
        ({"seeds": [[1, 2]]}, {}, "inputs.seeds: a list of whole numbers is expected, not [[1, 2]]"),
        ({"seeds": [True]}, {}, "inputs.seeds: a list of whole numbers is expected, not [True]"),
        ({"seeds": [-1]}, {}, "seeds: at least one is expected, each a whole number from 0 to 2^63 - 1"),
        ({"seed": [1]}, {}, 'inputs: {"seeds": [whole numbers]} or {"latents": [[8 numbers], …]}'),
        ({"seeds": [1], "latents": [[0] * 8]}, {}, 'inputs: {"seeds": [whole numbers]} or {"latents": '),
        ({"seeds": [1]}, {"label": None}, "label missing: expected one of cats, dogs"),
        ({"seeds": [1]}, {"label": "birds"}, "label birds: expected one of cats, dogs"),
        ({"seeds": [1]}, {"truncation": 1.5}, "truncation 1.5: from 0 (the most typical image) to 1"),
        ({"seeds": [1]}, {"truncation": "most"}, "Can not safely convert"),
        ({"seeds": [1]}, {"format": "jpg"}, "format jpg: pixels or png is expected"),
    ],
)
def test_a_400_says_what_was_expected(server, inputs, params, message):
    params = {key: value for key, value in ({"label": "cats"} | params).items() if value is not None}
    answer = ask(server, inputs, **params)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert message in answer.json()["message"]


# ------------------------------------------------------------------------------------------------
# Downloads by the commands


@pytest.mark.parametrize("uri", [CHAMPION, "models:/pets/1"])
def test_pictures_of_a_version_equal_the_served_ones(generators, monkeypatch, tmp_path, uri):
    monkeypatch.chdir(tmp_path)
    generate(uri, [3], "dogs", 1.0, Path("out"))
    np.testing.assert_array_equal(Image.open("out/dogs-seed0003.png"), image_of(generators[16], 3, 1))


def test_a_version_is_fetched_once(generators, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("first.png", "again.png"):
        generate(CHAMPION, [3], "dogs", 1.0, tmp_path / name)
    output = capfd.readouterr().err
    assert output.count("models:/pets@champion: fetching it into") == 1
    facts, networks = sorted(path for path in (tmp_path / "cache").rglob("[!.]*") if path.is_file())
    assert (facts.name, networks.name) == ("checkpoint.json", "networks.safetensors")
    networks.write_bytes(b"damaged")
    with pytest.raises(InputError, match=f"missing or damaged; delete {networks.parent} and"):
        generate(CHAMPION, [3], "dogs", 1.0, tmp_path / "third.png")
    shutil.rmtree(networks.parent)
    generate(CHAMPION, [3], "dogs", 1.0, tmp_path / "third.png")


def test_two_at_once_fetch_it_once(monkeypatch, tmp_path):
    """Otherwise the second would delete the folder that the first is already reading."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fetched, both = [], Barrier(2)

    def slow_download(source, file):
        fetched.append(source)
        file.touch()
        with suppress(BrokenBarrierError):
            both.wait(0.5)  # the other one never comes

    monkeypatch.setattr(download, "download", slow_download)
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: download._fetched("key", "it", "there"), range(2)))
    assert folders[0] == folders[1]
    assert fetched == ["there/checkpoint.json", "there/networks.safetensors"]


def test_a_time_lapse_of_a_version_is_that_of_its_checkpoints(generators, tmp_path):
    assert [phase.resolution for phase in phases_of("models:/pets/1")] == [4, 8, 16]
    for what in (CHAMPION, "checkpoints"):
        timelapse(what, [1, 2], "cats", 1.0, 0.8, 10, tmp_path / "growing.mp4")
        with av.open(tmp_path / "growing.mp4") as film:
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)])
        if what == CHAMPION:
            fetched = frames
    np.testing.assert_array_equal(fetched, frames)


@pytest.mark.parametrize(
    ("uri", "registry", "message"),
    [
        ("models:/pets@nobody", None, "models:/pets@nobody: .*alias nobody not found"),
        ("models:/pets/7", None, "models:/pets/7: .*version=7"),
        ("models:/nothing/1", None, "models:/nothing/1: .*not found"),
        ("models:/pets@", None, "models:/pets@: expected models:/NAME@alias or models:/NAME/3"),
        (CHAMPION, "sqlite:///nowhere.db", "models:/pets@champion: no registry at sqlite:///nowhere.db"),
        (CHAMPION, "http://me:secret@127.0.0.1:9", "http://127.0.0.1:9: no MLflow server answers"),
    ],
)
def test_missing_from_the_registry(generators, monkeypatch, tmp_path, uri, registry, message):
    monkeypatch.chdir(tmp_path)
    if registry:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    for use in (
        lambda: generate(uri, [1], "cats", 1.0, Path("x.png")),
        lambda: timelapse(uri, [1], "cats", 1.0, 1.0, 10, Path("x.mp4")),
    ):
        with pytest.raises((InputError, Unavailable), match=message) as caught:
            use()
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_checkpoints(generators, tmp_path):
    with pytest.raises(InputError, match="models:/pets/2: its run has no checkpoints of its phases"):
        timelapse("models:/pets/2", [1], "cats", 1.0, 1.0, 10, tmp_path / "x.mp4")
