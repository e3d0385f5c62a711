"""The authors' weights as a checkpoint: measured, registered and trained further like any other."""

import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from components.evaluate.evaluation import Evaluation
from components.evaluate.stage import evaluate
from components.gate.stage import gate
from components.import_official.stage import import_official
from components.pictures.generate import generate
from components.register.stage import register
from components.score_network.stage import prepare_score_network
from progan.checkpoints import DatasetFacts, read_checkpoint
from progan.config import PhaseConfig
from progan.dataset.build import build
from progan.dataset.reader import load_images
from progan.errors import InputError
from progan.files import read_json
from progan.network_config import ProganConfig
from progan.training import PhaseTrainer
from tests.layout import evaluated_files, run_files
from tests.progan.official.released import SMALL, tensorflow_networks, write_tensorflow, write_theano

FILE, CHECKPOINT, DATASET = Path("released.pkl"), Path("checkpoints/r0008"), Path("multires")
OPTIONS = SMALL | {"resolution": 8}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch, registry):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def networks():
    """G, D and Gs of 8 px, imported into CHECKPOINT."""
    networks = tensorflow_networks(OPTIONS)
    import_official(write_tensorflow(FILE, networks), 0, CHECKPOINT)
    return networks


@pytest.fixture
def config(small_config, photographs, networks):
    """A project that starts at 8 px with the imported form of networks, and its built dataset."""
    phases = {
        "r0008": PhaseConfig(8, "data/multires/r0008", 0, 0.08, 8, 0.001),
        "r0016": PhaseConfig(16, "checkpoints/r0008", 0.016, 0.016, 8, 0.001),
    }
    dataset = replace(small_config.dataset, source="folder", path=str(photographs), label_attributes=())
    network = ProganConfig(**read_json(CHECKPOINT / "checkpoint.json")["network"])
    build(dataset, DATASET, workers=1)
    return replace(small_config, dataset=dataset, network=network, phases=phases)


def test_the_checkpoint(networks, capsys):
    checkpoint = read_checkpoint(CHECKPOINT)
    facts = checkpoint.facts
    assert (facts.phase, facts.resolution, facts.kimg, facts.images_shown) == ("r0008", 8, 0, 0)
    assert facts.network.fused_scaling
    assert len(facts.official.sha256) == 64
    weight = networks[0].variables["8x8/Conv1/weight"]
    found = checkpoint.networks("generator")["blocks.r0008.conv1.weight"]
    np.testing.assert_array_equal(found, weight.transpose(3, 2, 0, 1))
    assert not torch.equal(found, checkpoint.networks("ema")["blocks.r0008.conv1.weight"])
    state, parameters = (load_file(CHECKPOINT / f"{name}.safetensors") for name in ("optimizers", "networks"))
    assert all(not tensor.any() for tensor in state.values())
    moments = [name for name in state if "moment" in name]
    assert len(moments) == 2 * len([name for name in parameters if not name.startswith("ema")])


def test_the_same_file_gives_the_same_bytes(networks):
    import_official(FILE, 0, Path("again"))
    import_official(FILE, 4000, Path("later"))
    for name in ("networks.safetensors", "optimizers.safetensors", "checkpoint.json"):
        assert (Path("again") / name).read_bytes() == (CHECKPOINT / name).read_bytes()
    facts, later = read_checkpoint(CHECKPOINT).facts, read_checkpoint(Path("later")).facts
    assert (later.kimg, later.images_shown) == (4000, 4_000_000)
    assert later.identity != facts.identity


def test_what_params_must_say_is_printed(capsys):
    import yaml

    import_official(write_theano(FILE), 0, Path("imported"))
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("imported: r0016 imported")
    assert ProganConfig(**yaml.safe_load("\n".join(rest))["network"]).latent_norm == "before-labels"


def test_evaluated_and_registered(config, networks, monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))  # MLflow adds the code that a model brings along
    only = replace(config, phases={"r0008": config.phases["r0008"]})
    prepare_score_network(only, DATASET, Path("score_network"))
    evaluation = Path("evaluation/r0008.json")
    evaluate(only, "r0008", **evaluated_files(only, "r0008", DATASET) | {"checkpoint": CHECKPOINT})
    assert Evaluation.read(evaluation).measures["swd_average"] > 0
    gate(only, evaluation, Path("verdict.json"))
    register(only, run_files(only, DATASET), str(DATASET))
    assert read_json(Path("registration.json"))["version"] == "1"
    served = mlflow.pyfunc.load_model(f"models:/{only.register.model}/1")
    generate(str(CHECKPOINT), [1, 2], None, 1.0, Path("sheet.png"))
    assert Image.open("sheet.png").size == (2 * 130 + 2, 130 + 2)
    latents = np.random.default_rng(0).standard_normal((3, only.network.latent_size)).astype(np.float32)
    expected = (networks[2].images(latents.astype(np.float64)) * 127.5 + 127.5).round().clip(0, 255)
    difference = served.predict({"latents": latents}) - expected.transpose(0, 2, 3, 1)
    assert np.abs(difference).max() <= 1  # a value on the verge of rounding


def test_trained_further(config, networks):
    images = load_images(DATASET, 16)[0]
    checkpoint = read_checkpoint(CHECKPOINT)
    trainer = PhaseTrainer(config, config.phases["r0016"], images, "data", checkpoint, CPU)
    began = {name: tensor.clone() for name, tensor in trainer.models.ema.state_dict().items()}
    assert {name for name in began if "r0016" not in name} == checkpoint.networks("ema").keys()
    for name, tensor in checkpoint.networks("ema").items():
        assert torch.equal(began[name], tensor)
    for _ in range(4):
        trainer.iterate()
    trainer.write_checkpoint(Path("checkpoints/r0016"), DatasetFacts("", 40, "data"))
    finished = read_checkpoint(Path("checkpoints/r0016"))
    assert finished.facts.network == config.network == checkpoint.facts.network
    for prefix in ("generator", "discriminator"):
        for name, tensor in checkpoint.networks(prefix).items():
            after = finished.networks(prefix)[name]
            unused = name.startswith(("to_rgb.r0004", "from_rgb.r0004"))
            assert torch.equal(after, tensor) == unused
            assert after.isfinite().all()


def test_what_is_refused_changes_nothing():
    Path("precious").mkdir()
    FILE.write_bytes(b"\x80\x04cos\nsystem\nX\x0b\x00\x00\x00touch mark!\x85R.")
    with pytest.raises(InputError, match="precious: exists already; delete it or name another folder"):
        import_official(FILE, 0, Path("precious"))
    with pytest.raises(InputError, match="system"):
        import_official(FILE, 0, CHECKPOINT)
    for kimg in (-1.0, float("nan")):
        with pytest.raises(InputError, match="--kimg: thousands of images"):
            import_official(FILE, kimg, CHECKPOINT)
    assert {path.name for path in Path.cwd().rglob("*")} == {"mlflow.db", "precious", FILE.name}
