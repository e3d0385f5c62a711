"""What was finished here, handed to a cluster before it would be made there again."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipelines.options import known_dataset
from progan.errors import InputError

if TYPE_CHECKING:
    from components.results import Results
    from pipelines.checkout import Checkout
    from pipelines.profile import Storage
    from progan.config import Config
    from progan.dataset.manifest import Manifest


def hand_over(config: "Config", storage: "Storage", dataset: Path) -> list[str]:
    """Bring to `storage`, where it can be reached from here (s3://), what this checkout has finished and it
    has not; what that was, in words.

    dataset: where the built dataset lies, or what dvc.lock knows it by. Raises InputError when `storage`
    holds another one.
    """
    in_reach = [uri for uri in (storage.dataset, storage.results) if "://" in uri]
    if not in_reach or (manifest := known_dataset(config, str(dataset))) is None:
        return []
    handed = []
    if storage.dataset in in_reach and _hand_dataset(storage.dataset, dataset, manifest):
        handed.append("the dataset")
    if storage.results in in_reach:
        handed += _hand_phases(config, storage.results, manifest)
    return handed


def _hand_dataset(uri: str, dataset: Path, manifest: "Manifest") -> bool:
    from components.object_store.dataset import find_manifest, upload_dataset
    from progan.dataset.manifest import MANIFEST_NAME

    there = find_manifest(uri)
    if there is not None and there != manifest:
        raise InputError(
            f"{uri}: holds the dataset {there.digest[:12]}, not {manifest.digest[:12]}, which {dataset} is; "
            "give another storage.dataset"
        )
    if there is not None or not (dataset / MANIFEST_NAME).exists():
        return False
    upload_dataset(dataset, uri)
    return True


def _hand_phases(config: "Config", uri: str, manifest: "Manifest") -> Iterator[str]:
    """Hand over the finished phases from the first on, as long as each began with the one before it."""
    from components.results import Results, made_from, started_from
    from pipelines.checkout import Checkout
    from progan.snapshots import Checkpoint

    here, kept = Checkout(), Results(uri, config, manifest.digest)
    before = started_from(config)
    for key, phase in config.phases.items():
        facts = here.json(f"checkpoints/{key}/checkpoint.json")
        if facts is None or not made_from(before, config, key, facts):
            return
        if facts["dataset"]["digest"] != manifest.level(phase.resolution).digest:
            return
        there = kept.facts(key)
        if there is None:
            _hand_phase(here, kept, key)
            yield key
        elif there["files"] != facts["files"]:
            return
        before = Checkpoint(Path("checkpoints", key), facts)


def _hand_phase(here: "Checkout", kept: "Results", key: str) -> None:
    """Bring one phase from this folder, DVC's cache or its remote to the results."""
    from progan.snapshots import read_checkpoint

    with TemporaryDirectory(prefix="progan-") as name:
        checkpoint, history = Path(name) / key, Path(name) / f"{key}.csv"
        here.fetch(f"checkpoints/{key}", checkpoint)
        here.fetch(f"history/{key}.csv", history)
        kept.keep_training(key, read_checkpoint(checkpoint).folder, history)
