"""The manifest of the built dataset, from its folder, its s3:// address or dvc.lock."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from progan.config import Config
    from progan.dataset.manifest import Manifest


def planned_dataset(config: "Config", dataset: str) -> str:
    """The digest of the dataset at `dataset`; empty, with a message, if there is no manifest."""
    from pipelines.dvc import OutOfReach

    try:
        if manifest := known_dataset(config, dataset):
            return manifest.digest
    except OutOfReach as error:
        print(error, file=sys.stderr)
    print(
        f"{dataset}: no dataset here; the run's first task builds it, or uses the one in storage",
        file=sys.stderr,
    )
    return ""


def known_dataset(config: "Config", dataset: str) -> "Manifest | None":
    """The manifest of the dataset at `dataset`, a folder or s3:// address, else the one in dvc.lock.

    None if there is neither, if it was built from other photographs, or if dvc.lock's was built with other
    parameters. Raises InputError if the dataset at `dataset` was built with other parameters.
    """
    from components.build_dataset.stage import has_parameters, require_parameters
    from components.object_store.dataset import find_manifest
    from pipelines import photographs
    from pipelines.dvc import Checkout

    if "://" not in dataset and photographs.are_new(config):
        return None
    if manifest := find_manifest(dataset):
        require_parameters(config, manifest, dataset)
        return manifest
    if "://" in dataset or not Path(".dvc").is_dir():
        return None
    manifest = Checkout().manifest(dataset)
    return manifest if manifest and has_parameters(config, manifest) else None
