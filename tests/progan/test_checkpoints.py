"""Checkpoints: what is whole is read, what is not is told in one line."""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated

import pytest
import torch

from progan.checkpoints import CheckpointFacts, prefixed, read_checkpoint, stripped, write_checkpoint
from progan.config import PhaseConfig
from progan.errors import InputError
from progan.models import require_network
from progan.network_config import ProganConfig
from progan.sampling import load_generator
from progan.validation import sealed
from tests.checkpoints import DATASET, facts_of, write_made_checkpoint

FILES = ("networks.safetensors", "optimizers.safetensors", "checkpoint.json")


def tensors(value):
    return {"a.weight": torch.full((2, 3), float(value)), "a.count": torch.tensor(value)}


@pytest.fixture
def folder(tmp_path):
    """That of a checkpoint of r0004."""
    write_checkpoint(tmp_path / "r0004", facts_of(), prefixed("ema", tensors(1)), tensors(2))
    return tmp_path / "r0004"


def written(folder):
    return json.loads((folder / "checkpoint.json").read_text())


def test_prefixes():
    named = prefixed("generator", tensors(1)) | prefixed("generator_adam", tensors(2))
    assert {name: value.tolist() for name, value in stripped("generator", named).items()} == {
        name: value.tolist() for name, value in tensors(1).items()
    }


def test_round_trip(tmp_path, small_config):
    facts = facts_of(
        "r0008",
        network=small_config.network,
        training=small_config.training,
        schedule=PhaseConfig(8, "checkpoints/r0004", 0, 0.5, 8, 0.001),
        dataset=replace(DATASET, classes=("cats", "dogs")),
        init="ab" * 32,
        ranks=2,
    )
    write_checkpoint(tmp_path / "r0008", facts, prefixed("ema", tensors(1)), tensors(2))
    checkpoint = read_checkpoint(tmp_path / "r0008")
    assert replace(checkpoint.facts, files={}) == facts
    assert checkpoint.digest == checkpoint.facts.files["networks.safetensors"]
    assert torch.equal(checkpoint.networks("ema")["a.weight"], tensors(1)["a.weight"])
    assert [path.name for path in tmp_path.iterdir()] == ["r0008"]


def test_the_same_tensors_give_the_same_bytes(folder, tmp_path):
    write_checkpoint(tmp_path / "again", facts_of(), prefixed("ema", tensors(1)), tensors(2))
    for file in FILES:
        assert (folder / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    assert written(folder)["files"].keys() == set(FILES) - {"checkpoint.json"}


@pytest.mark.parametrize("name", FILES[:2])
def test_damaged_tensors_are_refused(folder, name):
    file = folder / name
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    told = f"{name}: missing or damaged; delete .*r0004 and run its phase again"
    with pytest.raises(InputError, match=told):
        read_checkpoint(folder)
    file.unlink()
    with pytest.raises(InputError, match=told):
        read_checkpoint(folder)


def changed(**values):
    return lambda facts: json.dumps(facts | values)


def resealed(facts, **values):
    """`facts` with other `values`, as if they had been written so."""
    return json.dumps(sealed({name: facts[name] for name in facts if name != "digest"} | values))


DAMAGES = {  # → what the line says after the file's name
    "a list": (lambda facts: "[]", "the file: must be a mapping of keys to values, not []; "),
    "another file": (lambda facts: '{"kind": "none"}', "kind: unknown; known here: format, phase,"),
    "cut off": (lambda facts: json.dumps(facts)[:200], "not valid JSON"),
    "not text": (lambda facts: b"\xff\xfe", "not valid JSON"),
    "nested": (lambda facts: "[" * 100_000, "not valid JSON"),
    "a misspelt key": (lambda facts: json.dumps(facts, indent=0).replace("identity", "id"), "id: unknown; "),
    "missing": (lambda facts: json.dumps({"phase": facts["phase"]}), "resolution: missing; "),
    "a number as text": (changed(resolution="4"), "resolution: must be a whole number, not '4'; "),
    "true as a number": (changed(images_shown=True), "images_shown: must be a whole number, not True; "),
    "no resolution": (changed(resolution=5), "resolution: must be a power of two"),
    "another phase": (changed(phase="r0008"), "phase: must be r0004 at 4 px, not r0008; "),
    "another format": (changed(format=2), "format: must be 1, not 2; "),
    "a list of networks": (changed(network=[1]), "network: must be a mapping of keys to values, not [1]; "),
    "junk below": (
        changed(dataset=asdict(DATASET) | {"name": {"a": [{}]}}),
        "dataset.name: must be text, not {",
    ),
    "classes as text": (
        lambda facts: json.dumps(facts | {"dataset": facts["dataset"] | {"classes": "ab"}}),
        "dataset.classes: must be a list, not 'ab'; ",
    ),
    "another architecture": (
        lambda facts: json.dumps(facts | {"network": facts["network"] | {"attention": "on"}}),
        "network.attention: unknown; ",
    ),
    "a value that no network has": (
        lambda facts: json.dumps(facts | {"network": facts["network"] | {"channels": 2}}),
        "network.channels: must be 1 (grey) or 3 (RGB), not 2; ",
    ),
    "an edited number": (changed(images_shown=999), "digest: is not that of the rest; edited, "),
    "no digest": (changed(digest=None), "digest: is not that of the rest; edited, "),
    "no digests of files": (
        lambda facts: resealed(facts, files={}),
        "files.networks.safetensors: missing; delete ",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_facts_that_are_none_are_one_line(folder, damage):
    damaged, told = DAMAGES[damage]
    text = damaged(written(folder))
    (folder / "checkpoint.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as error:
        read_checkpoint(folder, needed=())
    assert str(error.value).startswith(f"{folder}/checkpoint.json: {told}")
    assert "again" in str(error.value)
    assert "\n" not in str(error.value)


def test_any_one_value_that_is_replaced_is_refused_or_gives_facts_of_the_right_types(folder):
    facts = written(folder)
    for name in facts:
        for junk in (None, True, -1, 1.5, "x", [], [None], {}, {"x": {}}):
            (folder / "checkpoint.json").write_text(resealed(facts, **{name: junk}))
            try:
                read = read_checkpoint(folder, needed=()).facts
            except InputError:
                continue
            assert junk == asdict(read)[name] or name == "files", (name, junk)


def test_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match=r"checkpoint.json: no such file; run the stage that makes it"):
        read_checkpoint(tmp_path / "r0004")


def test_facts_of_other_networks_than_lie_beside_them(tmp_path, small_config):
    write_made_checkpoint(tmp_path / "r0004", small_config.network, 4)
    checkpoint = read_checkpoint(tmp_path / "r0004")
    wider = replace(checkpoint.facts.network, latent_size=3 * small_config.network.latent_size)
    with pytest.raises(InputError, match="r0004: checkpoint.json does not describe the networks beside"):
        load_generator(replace(checkpoint, facts=replace(checkpoint.facts, network=wider)))


# ------------------------------------------------------------------------------------------------
# Versions


@dataclass(frozen=True, kw_only=True)
class LaterNetwork(ProganConfig):
    """A parameter more, as a later version may have it; by default as before."""

    attention: Annotated[bool, "self-attention at 32 px"] = False


def test_a_parameter_that_is_added_with_a_neutral_value_refuses_no_older_checkpoint(folder, monkeypatch):
    older = facts_of().network
    values = {field.name: getattr(older, field.name) for field in fields(older)}
    monkeypatch.setitem(CheckpointFacts.__annotations__, "network", LaterNetwork)
    checkpoint = read_checkpoint(folder)
    assert checkpoint.facts.network == LaterNetwork(**values)
    require_network(checkpoint, LaterNetwork(**values))
    with pytest.raises(
        InputError, match=r"network.attention: False, in params.yaml True\); set it as it was"
    ):
        require_network(checkpoint, LaterNetwork(**values, attention=True))


def test_files_without_what_older_versions_did_not_write(folder):
    facts = written(folder)
    for name in ("ranks", "official"):
        del facts[name]
    for name in ("torch", "python"):
        del facts["versions"][name]
    del facts["dataset"]["classes"]
    (folder / "checkpoint.json").write_text(resealed(facts))
    read = read_checkpoint(folder).facts
    assert (read.ranks, read.official, read.versions.torch, read.dataset.classes) == (None, None, None, ())


@pytest.mark.parametrize(
    ("label_size", "names", "classes"),
    [(2, ("a", "b"), ["a", "b"]), (2, ("a", "b", "c"), ["0", "1"]), (0, (), [])],
)
def test_names_of_classes(label_size, names, classes):
    network = replace(facts_of().network, label_size=label_size)
    assert facts_of(network=network, dataset=replace(DATASET, classes=names)).classes == classes
