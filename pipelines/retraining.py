"""Start a run on the cluster once for each state of parameters and data."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.kubeflow import Kubeflow
    from pipelines.profile import Profile
    from progan.config import Config

KEY_DIGITS = 16


def started_once(
    kubeflow: "Kubeflow", home: str, key: str, config: "Config", profile: "Profile", dataset: Path
) -> tuple[str, bool]:
    """The run of this key in the experiment `home`; whether it was started just now."""
    from pipelines.compiling import compiled
    from pipelines.hand_over import hand_over_and_tell
    from pipelines.known_dataset import planned_dataset

    name = f"{config.register.model} {key}"
    if earlier := kubeflow.first_run(home, name):
        return earlier, False
    text = compiled(config, profile, planned_dataset(config, str(dataset)))
    hand_over_and_tell(config, profile, dataset)
    mine = kubeflow.start(text, home, name, profile.service_account)
    first = kubeflow.settled(home, name, mine)
    return first, first == mine


def run_key(config: "Config", dataset: Path) -> str:
    """What tells a state from others: all parameters, RESULTS_VERSION and the photographs.

    Those that nothing tells from others go by the dataset that was made of them, if it lies in the folder
    `dataset`.
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
