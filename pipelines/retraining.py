"""Start at most one run on the cluster for each state of parameters and data."""

from pathlib import Path

from components.identity import state_of
from pipelines import photographs
from pipelines.compiling import compiled, storage_of
from pipelines.hand_over import hand_over
from pipelines.known_dataset import planned_dataset
from pipelines.kubeflow import Kubeflow
from pipelines.profile import Profile
from progan.config import Config
from progan.dataset.manifest import MANIFEST_NAME
from progan.dataset.reader import load_manifest
from progan.files import digest_of

KEY_DIGITS = 16


def start_once(
    kubeflow: Kubeflow, experiment: str, key: str, config: Config, profile: Profile, dataset: Path
) -> tuple[str, bool]:
    """Start the run with this key unless `experiment` has it. Its id, and whether this call started it."""
    name = f"{config.register.model} {key}"
    if earlier := kubeflow.first_run(experiment, name):
        return earlier, False
    text = compiled(config, profile, planned_dataset(config, str(dataset)))
    hand_over(config, storage_of(config, profile), dataset)
    started = kubeflow.start(text, experiment, name, profile.service_account)
    run = kubeflow.settle(experiment, name, started)
    return run, run == started


def run_key(config: Config, dataset: Path) -> str:
    """The key of a state: a digest of all parameters, RESULTS_VERSION and the photographs.

    If the photographs have no digest, that of the dataset in the folder `dataset` takes its place.
    """
    data = photographs.digest(config)
    if not data and (dataset / MANIFEST_NAME).exists():
        data = load_manifest(dataset).digest
    return digest_of([state_of(config), data])[:KEY_DIGITS]
