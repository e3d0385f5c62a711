"""A task's digest changes exactly when `dvc repro` would run its stage again, or one before it."""

import copy
from pathlib import Path

import pytest
import yaml

from components import digests
from progan import config

ROOT = Path(__file__).parents[2]
STAGES = {
    "build-dataset": lambda loaded: digests.dataset_params(loaded),
    "score-network": lambda loaded: digests.score_network_params(loaded),
    "train@r0008": lambda loaded: digests.train_params(loaded, "r0008"),
    "evaluate@r0008": lambda loaded: digests.evaluate_params(loaded, "r0008"),
    "gate": lambda loaded: digests.all_params(loaded),
}
BEFORE = {
    "score-network": [],  # the dataset counts by its own digest
    "train@r0008": ["train@r0004"],
    "evaluate@r0008": ["train@r0008", "train@r0004", "score-network"],
}


def declared(stage):
    """The parameters that dvc.yaml names for a stage, by their dotted keys."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    name, _, key = stage.partition("@")
    found = stages[name].get("do", stages[name])["params"]
    return [param.replace("${key}", key) for param in found if isinstance(param, str)]


def leaves(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


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


@pytest.mark.parametrize("changed", CHANGES)
def test_digests_and_dvc_agree(small_params, changed):
    assert changed in set(leaves(small_params))
    values = copy.deepcopy(small_params)
    *path, last = changed.split(".")
    place = values
    for key in path:
        place = place[key]
    place[last] = CHANGES[changed]
    before, after = config.parse(small_params, ""), config.parse(values, "")
    for stage in ("build-dataset", "score-network", "train@r0008", "evaluate@r0008"):
        named = [param for each in (stage, *BEFORE.get(stage, [])) for param in declared(each)]
        counts = any(changed == param or changed.startswith(f"{param}.") for param in named)
        assert (STAGES[stage](before) != STAGES[stage](after)) == counts, stage
    assert STAGES["gate"](before) != STAGES["gate"](after)


def test_a_new_version_of_the_results_changes_every_digest(small_config, monkeypatch):
    before = {stage: digest(small_config) for stage, digest in STAGES.items()}
    monkeypatch.setattr(digests, "RESULTS_VERSION", digests.RESULTS_VERSION + 1)
    assert all(digest(small_config) != before[stage] for stage, digest in STAGES.items())


def test_cache_keys_tell_stage_parameters_data_and_results_apart():
    keys = {
        digests.cache_key(stage, params, data, results)
        for stage in ("train", "evaluate")
        for params in ("a", "b")
        for data in ("a", "b")
        for results in ("a", "b")
    }
    assert len(keys) == 16


def test_training_goes_by_the_checkpoint_it_starts_from_not_by_its_name(small_params):
    """As dvc.yaml has it: warm-start@r0004 depends on all, train@r0008 on the checkpoint that it makes."""

    def digests_of(version, checkpoint):
        values = copy.deepcopy(small_params)
        del values["phases"]["r0004"]
        start = {"model": "faces", "version": version, "checkpoint": checkpoint * 32}
        loaded = config.parse(values | {"warm_start": {"r0004": start}}, "")
        return [STAGES["train@r0008"](loaded), STAGES["evaluate@r0008"](loaded)], digests.warm_start_params(
            loaded
        )

    trained, fetched = digests_of("1", "ab")
    renamed, fetched_elsewhere = digests_of("2", "ab")
    other, _ = digests_of("1", "cd")
    assert trained == renamed
    assert fetched != fetched_elsewhere
    assert not set(trained) & set(other)
