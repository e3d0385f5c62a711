"""What was finished here, handed to a cluster before it would be made there again."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipelines import photographs
from pipelines.known_dataset import known_dataset
from progan.errors import InputError

if TYPE_CHECKING:
    from components.results import Results, Trace
    from pipelines.dvc import Checkout
    from pipelines.profile import Profile, Storage
    from progan.config import Config
    from progan.dataset.manifest import Manifest


def hand_over_and_tell(config: "Config", profile: "Profile", dataset: Path) -> list[str]:
    """Bring to the cluster what this checkout has finished and it has not; what that was."""
    from pipelines.compiling import storage_of

    handed = hand_over(config, storage_of(config, profile), dataset)
    if handed:
        print(f"handed over: {', '.join(handed)}", file=sys.stderr)
    return handed


def hand_over(config: "Config", storage: "Storage", dataset: Path) -> list[str]:
    """Bring to `storage`, where it can be reached from here (s3://), what this checkout has finished and it
    has not; what that was, in words.

    dataset: where the built dataset lies, or what dvc.lock knows it by. Raises InputError when `storage`
    holds another one.
    """
    from components.results import Results, trace
    from pipelines.dvc import Checkout

    in_reach = [uri for uri in (storage.dataset, storage.results) if "://" in uri]
    if not in_reach or (manifest := known_dataset(config, str(dataset))) is None:
        return []
    here, handed = Checkout(), []
    if storage.dataset in in_reach and _hand_dataset(config, here, storage.dataset, dataset, manifest):
        handed.append("the dataset")
    if storage.results in in_reach:
        results = Results(storage.results)
        for found in trace(config, manifest, results, here):
            if found.source is here:
                _hand_result(here, results, found)
                handed.append(found.task.title)
    return handed


def _hand_dataset(config: "Config", here: "Checkout", uri: str, dataset: Path, manifest: "Manifest") -> bool:
    from components.object_store.dataset import find_manifest, upload_dataset
    from progan.dataset.manifest import MANIFEST_NAME

    there = find_manifest(uri)
    if there is not None and there != manifest:
        raise InputError(
            f"{uri}: holds the dataset {there.digest[:12]}, not {manifest.digest[:12]}, which {dataset} is; "
            "delete what lies there, or give another storage.datasets"
        )
    if there is not None or not (dataset / MANIFEST_NAME).exists():
        return False
    made_by = {photographs.origin(config), "build-dataset"}
    if photographs.origin(config) and made_by & set(here.stale()):
        raise InputError(
            f"{dataset}: dvc.lock does not say that it is made of {config.dataset.path} as it is; "
            "run dvc repro build-dataset, and submit again"
        )
    upload_dataset(dataset, uri)
    return True


def _hand_result(here: "Checkout", results: "Results", found: "Trace") -> None:
    """Bring what a task made from this folder, DVC's cache or its remote to the results."""
    from components.receipts import Receipt

    assert found.identity is not None
    with TemporaryDirectory(prefix="progan-") as name:
        for output in found.task.outputs:
            here.fetch(output.path, Path(name, output.path))
        if Receipt.of(found.task, found.identity, Path(name)) != found.receipt:
            raise InputError(
                f"{found.task.receipt}: not of the files that lie here; run dvc repro {found.task.name}"
            )
        results.keep(found.task, found.identity, Path(name))
