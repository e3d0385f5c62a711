"""A task's identity: what dvc.yaml says decides the task changes it, and nothing else does."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml

from components import identity, stages
from components.identity import cache_key, dataset_name, digest_of_path, digests_of_dataset, state_of
from components.receipts import Receipt
from progan import config
from progan.dataset.manifest import ClassCount, Level, Manifest, Shard
from progan.errors import InputError
from progan.files import digest_of
from progan.resolutions import phase_key
from progan.validation import validated

ROOT = Path(__file__).parents[2]
OLD = ["network", "training", "phases.r0008"]  # parameters
TASKS = ("score-network", "train@r0008", "evaluate@r0008")
CHANGES = {  # what can be changed alone, and to what
    "dataset.path": "elsewhere",
    "dataset.seed": 7,
    "network.latent_size": 9,
    "training.seed": 7,
    "training.mirror": False,
    "phases.r0004.stable_kimg": 1.0,
    "phases.r0008.learning_rate": 0.5,
    "phases.r0016.stable_kimg": 1.0,
    "measures.seed": 7,
    "measures.swd_images": 7,
    "measures.classifier_epochs": 7,
    "gate.swd_max": 7.0,
    "register.model": "other",
    "paint.toy-celeba.images": 7,
}


def declared(name):
    """The parameters that dvc.yaml names for a task, by their dotted keys, read independently."""
    stage, _, key = name.partition("@")
    found = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    named = found.get("do", found)["params"]
    return [param.replace("${key}", key) for param in named if isinstance(param, str)]


def task(loaded, name):
    return stages.task(loaded, name.partition("@")[0], name.partition("@")[2] or None)


def changed(params, name):
    """The parameters with one change made."""
    values = copy.deepcopy(params)
    *path, last = name.split(".")
    place = values
    for key in path:
        place = place[key]
    assert last in place
    place[last] = CHANGES[name]
    return config.parse(values, "")


def identity_of(loaded, name, **digests):
    """That of a task whose inputs all have the same digest, but for those that are given."""
    found = task(loaded, name)
    return identity.identity(loaded, found, {file.path: digests.get(file.name, "d") for file in found.inputs})


@pytest.mark.parametrize("name", CHANGES)
def test_the_parameters_that_dvc_goes_by_decide(small_params, name):
    before, after = config.parse(small_params, ""), changed(small_params, name)
    for each in TASKS:
        counts = any(name == param or name.startswith(f"{param}.") for param in declared(each))
        assert (identity_of(before, each) != identity_of(after, each)) == counts, each
    assert state_of(before) != state_of(after)
    assert (dataset_name(before, "p") != dataset_name(after, "p")) == name.startswith("dataset.")


@pytest.mark.parametrize("name", TASKS)
def test_everything_that_is_read_decides_and_must_be_known(small_config, name):
    base = identity_of(small_config, name)
    for file in task(small_config, name).inputs:
        assert identity_of(small_config, name, **{file.name: "other"}) != base
        known = {each.path: "d" for each in task(small_config, name).inputs if each.path != file.path}
        assert identity.identity(small_config, task(small_config, name), known) is None


def test_a_new_version_of_the_results_changes_what_declares_it(small_config, monkeypatch):
    before = {name: identity_of(small_config, name) for name in TASKS}
    state = state_of(small_config)
    monkeypatch.setattr(identity, "RESULTS_VERSION", identity.RESULTS_VERSION + 1)
    assert all(identity_of(small_config, name) != before[name] for name in TASKS)
    assert state_of(small_config) != state


def manifest_of(*resolutions, name="faces"):
    levels = {
        phase_key(side): Level.of([Shard(f"{side}.parquet", 9, 1, f"{side}" * 8)]) for side in resolutions
    }
    return Manifest(2, "folder", name, {}, 9, 3, (ClassCount("cats", 9),), 0, 0, (), {}, levels)


def test_a_dataset_with_another_resolution_trains_no_phase_again(small_config):
    small, large = (
        digests_of_dataset("data/multires", manifest_of(*sides)) for sides in ((4, 8), (4, 8, 16))
    )
    first = task(small_config, "train@r0004")
    assert identity.identity(small_config, first, small) == identity.identity(small_config, first, large)
    network = task(small_config, "score-network")
    assert identity.identity(small_config, network, small) != identity.identity(small_config, network, large)
    assert identity.identity(small_config, task(small_config, "train@r0016"), small) is None


def test_a_checkpoint_is_its_networks_and_any_other_folder_all_of_its_files(tmp_path):
    from torch import ones

    from progan.checkpoints import write_checkpoint
    from tests.checkpoints import facts_of

    def written(name, network, optimizer, phase):
        write_checkpoint(tmp_path / name, facts_of(phase), {"w": ones(network)}, {"m": ones(optimizer)})
        return digest_of_path(tmp_path / name)

    assert written("a", 3, 1, "r0004") == written("b", 3, 2, "r0008") != written("c", 4, 1, "r0004")
    for folder in ("a", "c"):
        receipt = Receipt("train@r0004", "i", (folder,), {
            path.relative_to(tmp_path).as_posix(): identity.sha256_file(path)
            for path in (tmp_path / folder).iterdir()
        })  # fmt: skip
        assert receipt.digests == {folder: digest_of_path(tmp_path / folder)}
    (tmp_path / "network").mkdir()
    (tmp_path / "network/facts.json").write_text("1")
    one = digest_of_path(tmp_path / "network")
    (tmp_path / "network/more").write_text("2")
    assert digest_of_path(tmp_path / "network") != one


def test_kubeflow_s_cache_key_covers_every_task_before(small_params):
    """It has to be known before there are inputs."""
    before = config.parse(small_params, "")

    def keys(loaded, name, dataset="data", results="results"):
        return cache_key(loaded, task(loaded, name), dataset, results)

    upstream = {
        "score-network": ["score-network"],
        "train@r0008": ["train@r0008", "train@r0004"],
        "evaluate@r0008": ["evaluate@r0008", "train@r0008", "train@r0004", "score-network"],
    }
    for name in CHANGES:
        after = changed(small_params, name)
        for each, lineage in upstream.items():
            params = [param for one in lineage for param in declared(one)]
            counts = any(name == param or name.startswith(f"{param}.") for param in params)
            assert (keys(before, each) != keys(after, each)) == counts, (name, each)
    told = {keys(before, name, *where) for name in TASKS for where in (("a", "b"), ("b", "b"), ("a", "c"))}
    assert len(told) == 9


def test_training_goes_by_the_checkpoint_it_starts_from_not_by_its_name(small_params):
    def warm(version):
        values = copy.deepcopy(small_params)
        del values["phases"]["r0004"]
        start = {"model": "faces", "version": version, "checkpoint": "ab" * 32}
        return config.parse(values | {"warm_start": {"r0004": start}}, "")

    one, other = warm("1"), warm("2")
    assert identity_of(one, "train@r0008") == identity_of(other, "train@r0008")
    assert identity_of(one, "warm-start@r0004") != identity_of(other, "warm-start@r0004")


# ------------------------------------------------------------------------------------------------
# Parameters that decide


@dataclass(frozen=True)
class LaterTraining(config.TrainingConfig):
    precision: Annotated[Literal["float32", "tf32"], "precision of convolutions"] = "float32"


@dataclass(frozen=True)
class LaterConfig(config.Config):
    """Of a version with one more parameter."""

    training: LaterTraining


def test_the_parameters_that_decide(small_config):
    deciding = identity.deciding(
        small_config, ["phases.r0008", "training.mirror", "dataset", "gate.stop_after"]
    )
    assert list(deciding) == ["phases.r0008", "training.mirror", "dataset", "gate.stop_after"]
    assert deciding["phases.r0008"]["fade_kimg"] == 0.08
    assert deciding["training.mirror"] is True
    assert deciding["dataset"]["label_attributes"] == ["Blond_Hair", "Eyeglasses", "Wearing_Hat"]
    assert deciding["dataset"]["max_images"] is deciding["gate.stop_after"] is None


@pytest.mark.parametrize("given", [{}, {"precision": "float32"}])
def test_a_neutral_new_parameter_changes_no_identity(small_params, small_config, given):
    small_params["training"] |= given
    later = validated(LaterConfig, small_params, "params.yaml")
    assert later.training.precision == "float32"
    names = [*OLD, "training.precision"]
    assert digest_of(identity.deciding(later, names)) == digest_of(identity.deciding(small_config, OLD))
    assert identity_of(later, "train@r0008") == identity_of(small_config, "train@r0008")
    assert state_of(later) == state_of(small_config)


def test_at_another_value_it_does(small_params, small_config):
    small_params["training"]["precision"] = "tf32"
    later = validated(LaterConfig, small_params, "params.yaml")
    deciding = identity.deciding(later, OLD)
    assert deciding["training"].pop("precision") == "tf32"
    assert deciding == identity.deciding(small_config, OLD)
    assert identity_of(later, "train@r0008") != identity_of(small_config, "train@r0008")
    assert state_of(later) != state_of(small_config)


@pytest.mark.parametrize("name", ["phases.r0064", "training.seed.x"])
def test_names_of_no_parameter(small_config, name):
    with pytest.raises(InputError, match=f"^parameter {name}: not in params.yaml; "):
        identity.deciding(small_config, ["network", name])
