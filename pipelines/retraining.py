"""Start at most one run on the cluster for each state of parameters and data."""

import time
from itertools import count
from pathlib import Path

from components.identity import state_of
from pipelines import photographs
from pipelines.compiling import compiled, storage_of
from pipelines.hand_over import hand_over
from pipelines.known_dataset import planned_dataset
from pipelines.kubeflow import ENDED_BADLY, Kubeflow, Refused
from pipelines.profile import Profile
from progan.config import Config
from progan.dataset.manifest import MANIFEST_NAME
from progan.dataset.reader import load_manifest
from progan.errors import Interrupted
from progan.files import digest_of

KEY_DIGITS = 16
POLL_SECONDS, MAX_LOOKS = 5.0, 24  # for the run that another trigger is starting


def start_once(
    kubeflow: Kubeflow, experiment: str, key: str, config: Config, profile: Profile, dataset: Path
) -> tuple[str, bool]:
    """Start a run with this key unless one is under way or succeeded; its id, and whether it is new.

    A run is named by its key and, after others that ended badly, its number. Who claims the name starts the
    run: however long that takes, nobody else does. Raises Interrupted if the run of another's claim does not
    show up.
    """
    experiment_id = kubeflow.experiment(experiment)
    for number in count(1):
        name = f"{experiment} {key}" + (f" {number}" if number > 1 else "")
        runs = kubeflow.runs(experiment_id, name)
        if under_way := [run for run, state in runs.items() if state not in ENDED_BADLY]:
            return under_way[0], False
        if not runs:
            break
    text = compiled(config, profile, planned_dataset(config, str(dataset)))
    hand_over(config, storage_of(config, profile), dataset)
    claim = kubeflow.claim(name)
    if claim is None:
        return _run_of_another(kubeflow, experiment_id, name), False
    try:
        return kubeflow.start(text, experiment_id, name, profile.service_account), True
    except Refused:  # after any other error, the run may be starting
        kubeflow.release(claim)
        raise


def _run_of_another(kubeflow: Kubeflow, experiment: str, name: str) -> str:
    """The run that somebody else is starting."""
    for _ in range(MAX_LOOKS):
        if runs := kubeflow.runs(experiment, name):
            return next(iter(runs))
        time.sleep(POLL_SECONDS)
    raise Interrupted(
        f"{name}: another trigger is starting this run; try again later, and if none is, use progan submit"
    )


def run_key(config: Config, dataset: Path) -> str:
    """The key of a state: a digest of all parameters, RESULTS_VERSION and the photographs.

    If the photographs have no digest, that of the dataset in the folder `dataset` takes its place.
    """
    data = photographs.digest(config)
    if not data and (dataset / MANIFEST_NAME).exists():
        data = load_manifest(dataset).digest
    return digest_of([state_of(config), data])[:KEY_DIGITS]
