"""What decides a task's result, as the digests that travel with it and that the cache knows it by.

A task's digest covers the parameters of the tasks before it too. Nothing of where a task runs is in it.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from progan import RESULTS_VERSION
from progan.config import Config
from progan.files import digest_of

SCORE_NETWORK_MEASURES = (
    "seed",
    "inception_weights",
    "inception_sha256",
    "classifier_epochs",
    "mode_samples",
)


def dataset_params(config: Config) -> str:
    """Digest of the parameters that decide the dataset."""
    return _digest({"dataset": asdict(config.dataset)})


def dataset_name(config: Config, photographs: str) -> str:
    """What a dataset is called where several are kept, so that none is taken for another.

    photographs: a digest of them; empty where none is known.
    """
    return f"{config.dataset.source}-{digest_of([dataset_params(config), photographs])[:12]}"


def warm_start_params(config: Config) -> str:
    """Digest of the parameters that decide which checkpoint is fetched to start from."""
    return _digest({"warm_start": {key: asdict(start) for key, start in config.warm_start.items()}})


def score_network_params(config: Config) -> str:
    """Digest of the parameters that decide the score network."""
    measures = asdict(config.measures)
    return _digest({"measures": {name: measures[name] for name in SCORE_NETWORK_MEASURES}})


def train_params(config: Config, key: str) -> str:
    """Digest of the parameters that decide the checkpoint of the phase `key`: those of all phases to it."""
    return _digest(_of_training(config, key))


def evaluate_params(config: Config, key: str) -> str:
    """Digest of the parameters that decide the evaluation of the phase `key`."""
    return _digest(_of_training(config, key) | {"measures": asdict(config.measures)})


def all_params(config: Config) -> str:
    """Digest of every parameter: what gate, register and report go by."""
    return _digest(asdict(config))


def cache_key(stage: str, params_digest: str, dataset_digest: str, results: str) -> str:
    """The name of a task's result in the cache.

    results: where it is kept besides. What comes from the cache is not kept again, and so is not known there
    by the name that it had for another place.
    """
    return f"{stage}-{digest_of([params_digest, dataset_digest, results])}"


def _of_training(config: Config, key: str) -> dict[str, Any]:
    last = config.phase(key).resolution
    phases = [asdict(phase) for phase in config.phases.values() if phase.resolution <= last]
    started_from = {"warm_start": [start.checkpoint for start in config.warm_start.values()]}
    return {
        "network": asdict(config.network),
        "training": asdict(config.training),
        "phases": phases,
        **(started_from if config.warm_start else {}),
    }


def _digest(deciding: Mapping[str, Any]) -> str:
    return digest_of({"results_version": RESULTS_VERSION, **deciding})
