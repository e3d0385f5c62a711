"""Hand the results of this checkout over to a cluster, so that they are not computed there again."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from components.object_store.dataset import find_manifest, upload_dataset
from components.receipts import Receipt
from components.results import Results, Trace, trace
from pipelines import photographs
from pipelines.dvc import Checkout
from pipelines.known_dataset import known_dataset
from pipelines.profile import Storage
from progan.config import Config
from progan.dataset.manifest import MANIFEST_NAME, Manifest
from progan.errors import InputError


def hand_over(config: Config, storage: Storage, dataset: Path) -> list[str]:
    """Copy the dataset and the results that this checkout has and `storage` lacks, and tell their titles.

    Storage that cannot be reached from here (not s3://) is left alone. dataset: the folder of the built
    dataset, as dvc.lock names it. Raises InputError if `storage` holds another dataset.
    """
    in_reach = [uri for uri in (storage.dataset, storage.results) if "://" in uri]
    if not in_reach or (manifest := known_dataset(config, str(dataset))) is None:
        return []
    checkout, handed = Checkout(), []
    if storage.dataset in in_reach and _hand_dataset(config, checkout, storage.dataset, dataset, manifest):
        handed.append("the dataset")
    if storage.results in in_reach:
        results = Results(storage.results)
        for step in trace(config, manifest, results, checkout):
            if step.source is checkout:
                _hand_result(checkout, results, step)
                handed.append(step.task.title)
    if handed:
        print(f"handed over: {', '.join(handed)}", file=sys.stderr)
    return handed


def _hand_dataset(config: Config, checkout: Checkout, uri: str, dataset: Path, manifest: Manifest) -> bool:
    """Upload the dataset if there is none at `uri`; whether it was uploaded."""
    stored = find_manifest(uri)
    if stored is not None and stored != manifest:
        raise InputError(
            f"{uri}: holds the dataset {stored.digest[:12]}, but {dataset} is {manifest.digest[:12]}; delete "
            "the one there, or give another storage.datasets"
        )
    if stored is not None or not (dataset / MANIFEST_NAME).exists():
        return False
    origin = photographs.origin(config)
    if origin and {origin, "build-dataset"} & set(checkout.stale()):
        raise InputError(
            f"{dataset}: not built from {config.dataset.path} as it is now, says dvc.lock; run dvc repro "
            "build-dataset, and submit again"
        )
    upload_dataset(dataset, uri)
    return True


def _hand_result(checkout: Checkout, results: Results, step: Trace) -> None:
    """Copy the outputs of a task, from this folder, DVC's cache or its remote, to the results."""
    task, identity = step.task, step.identity
    assert identity is not None
    with TemporaryDirectory(prefix="progan-") as name:
        for output in task.outputs:
            checkout.fetch(output.path, Path(name, output.path))
        if Receipt.of(task, identity, Path(name)) != step.receipt:
            raise InputError(f"{task.receipt}: does not match its files; run dvc repro {task.name}")
        results.keep(task, identity, Path(name))
