"""ONNX files: the same images from onnxruntime, whatever the generator's form."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from components.pictures.export import export
from components.pictures.generate import generate
from components.pictures.onnx_file import OnnxSampler, check
from components.pictures.sources import sampler_of
from progan import config
from progan.errors import InputError
from progan.files import read_json
from progan.sampling import latents_of_seeds
from tests import architectures
from tests.checkpoints import FORMS, write_made_checkpoint
from tests.conftest import shrunk_params


@pytest.mark.slow  # below, quickly: the final form with labels
@pytest.mark.parametrize("form", ["row a", "final", "fused", "stylegan", "stylegan2", "biggan"])
def test_onnxruntime_makes_the_same_images(tmp_path, small_config, form, capsys):
    network = architectures.SMALL.get(form) or replace(small_config.network, **FORMS[form])
    generator = write_made_checkpoint(tmp_path / "made", network, 8)
    export(str(tmp_path / "made"), tmp_path / "made.onnx")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["made", "made.onnx"]
    assert "onnxruntime's images are within" in capsys.readouterr().out
    onnx.checker.check_model(onnx.load(tmp_path / "made.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "made.onnx")
    for count in (1, 2, 7):
        latents = latents_of_seeds(range(count), network.latent_size)
        labels = torch.arange(count) % 3
        feed, inputs = {"latents": latents.numpy()}, latents
        if network.label_size:
            feed["labels"] = labels.numpy()
            inputs = torch.cat([latents, torch.eye(3)[labels]], 1)
        (images,) = session.run(None, feed)  # truncation left out: all variety
        np.testing.assert_allclose(images, generator(inputs).numpy(), atol=1e-4)
        assert images.shape == (count, network.channels, 8, 8)
        sampler = sampler_of(str(tmp_path / "made"))
        (truncated,) = session.run(None, feed | {"truncation": np.array(0.4, np.float32)})
        expected = sampler.make(latents, labels if network.label_size else 0 * labels, 0.4)
        np.testing.assert_allclose(truncated, expected.numpy(), atol=1e-4)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with a checkpoint of cats and dogs and the ONNX file made from it."""
    folder = tmp_path_factory.mktemp("exported")
    network = replace(config.parse(shrunk_params(), "params.yaml").network, label_size=2)
    write_made_checkpoint(folder / "classes/r0016", network, 16, ["cats", "dogs"])
    export(str(folder / "classes/r0016"), folder / "made.onnx")
    return folder


@pytest.fixture
def exported(written, tmp_path, monkeypatch):
    """A copy of it that a test may change."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Path("made.onnx")


def test_metadata_and_interface(exported):
    session = onnxruntime.InferenceSession(exported)
    properties = session.get_modelmeta().custom_metadata_map
    metadata = {name: json.loads(value) for name, value in properties.items()}
    assert metadata == {
        "phase": "r0016",
        "resolution": 16,
        "kimg": 1.5,
        "identity": read_json(Path("classes/r0016/checkpoint.json"))["identity"],
        "latent_size": 8,
        "classes": ["cats", "dogs"],
    }
    shapes = {entry.name: (entry.type, entry.shape) for entry in session.get_inputs()}
    assert shapes == {"latents": ("tensor(float)", ["N", 8]), "labels": ("tensor(int64)", ["N"])}
    assert [(out.name, out.shape) for out in session.get_outputs()] == [("images", ["N", 3, 16, 16])]


def test_pictures_of_the_file_are_those_of_the_checkpoint(exported):
    for truncation in (1.0, 0.6):
        generate("made.onnx", [1, 5], "dogs", truncation, Path(f"file-{truncation}"))
        generate("classes/r0016", [1, 5], "dogs", truncation, Path(f"checkpoint-{truncation}"))
        for seed in (1, 5):
            name = f"{truncation}/dogs-seed000{seed}.png"
            one, other = (np.asarray(Image.open(f"{kind}-{name}"), int) for kind in ("file", "checkpoint"))
            assert np.abs(one - other).max() <= 1


def test_a_file_that_differs_is_not_kept(exported, monkeypatch):
    """Weights that are a little off are detected, and no file appears."""
    sampler = sampler_of("classes/r0016")
    with torch.no_grad():
        next(reversed(list(sampler.generator.to_rgb["r0016"].parameters()))).add_(2e-4)
    with pytest.raises(RuntimeError, match="onnxruntime's images differ from torch's by up to 0.000"):
        check(sampler, exported)
    monkeypatch.setattr("components.pictures.onnx_file.TOLERANCE", 0.0)
    monkeypatch.setattr("components.pictures.onnx_file.write", lambda *given: shutil.copy(exported, given[2]))
    with pytest.raises(RuntimeError, match="differ"):
        export("classes/r0016", Path("other.onnx"))
    assert not [path for path in Path().iterdir() if "other" in path.name]


def test_invalid_exports(exported):
    with pytest.raises(InputError, match="made.onnx: is an ONNX file already"):
        export("made.onnx", Path("again.onnx"))
    with pytest.raises(InputError, match="--onnx: model.pt: a file name that ends with .onnx is expected"):
        export("classes/r0016", Path("model.pt"))
    Path("noise.onnx").write_bytes(b"noise")
    with pytest.raises(InputError, match="noise.onnx: not a generator that progan export wrote") as caught:
        OnnxSampler(Path("noise.onnx"))
    assert "\n" not in str(caught.value)
    foreign = onnx.load(exported)
    del foreign.metadata_props[:]
    onnx.save(foreign, "foreign.onnx")
    with pytest.raises(InputError, match="foreign.onnx: not a generator that progan export wrote"):
        OnnxSampler(Path("foreign.onnx"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resolution", "[]"),
        ("resolution", "8"),
        ("latent_size", "true"),
        ("latent_size", "7"),
        ("classes", '{"a": 1}'),
        ("classes", "[]"),
        ("kimg", "NaN"),
        ("phase", "[" * 30_000),
    ],
)
def test_metadata_that_were_edited(written, tmp_path, name, value):
    model = onnx.load(written / "made.onnx")
    next(entry for entry in model.metadata_props if entry.key == name).value = value
    onnx.save(model, tmp_path / "edited.onnx")
    with pytest.raises(InputError, match=r"^\S+/edited\.onnx: (not a generator|does not fit)"):
        generate(str(tmp_path / "edited.onnx"), [1, 2], None, 1.0, tmp_path / "a.png")
