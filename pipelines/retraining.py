"""Start at most one run on the cluster for each state of parameters and data."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.kubeflow import Kubeflow
    from pipelines.profile import Profile
    from progan.config import Config

KEY_DIGITS = 16


def start_once(
    kubeflow: "Kubeflow", experiment: str, key: str, config: "Config", profile: "Profile", dataset: Path
) -> tuple[str, bool]:
    """Start the run with this key unless `experiment` has it. Its id, and whether this call started it."""
    from pipelines.compiling import compiled
    from pipelines.hand_over import hand_over_and_tell
    from pipelines.known_dataset import planned_dataset

    name = f"{config.register.model} {key}"
    if earlier := kubeflow.first_run(experiment, name):
        return earlier, False
    text = compiled(config, profile, planned_dataset(config, str(dataset)))
    hand_over_and_tell(config, profile, dataset)
    started = kubeflow.start(text, experiment, name, profile.service_account)
    run = kubeflow.settle(experiment, name, started)
    return run, run == started


def run_key(config: "Config", dataset: Path) -> str:
    """The key of a state: a digest of all parameters, RESULTS_VERSION and the photographs.

    If the photographs have no digest, that of the dataset in the folder `dataset` takes its place.
    """
    from components.identity import state_of
    from pipelines import photographs
    from progan.dataset.manifest import MANIFEST_NAME
    from progan.dataset.reader import load_manifest
    from progan.files import digest_of

    data = photographs.digest(config)
    if not data and (dataset / MANIFEST_NAME).exists():
        data = load_manifest(dataset).digest
    return digest_of([state_of(config), data])[:KEY_DIGITS]
