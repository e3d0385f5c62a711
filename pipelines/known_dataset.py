"""The built dataset that is known here: by its folder, its s3:// address, or dvc.lock alone."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from progan.config import Config
    from progan.dataset.manifest import Manifest


def planned_dataset(config: "Config", dataset: str) -> str:
    """The digest of the dataset at `dataset`; empty, and said, when none is known."""
    from pipelines.dvc import OutOfReach

    try:
        if manifest := known_dataset(config, dataset):
            return manifest.digest
    except OutOfReach as error:
        print(error, file=sys.stderr)
    print(
        f"{dataset}: no dataset here; the run's first task builds it, or takes what it finds", file=sys.stderr
    )
    return ""


def known_dataset(config: "Config", dataset: str) -> "Manifest | None":
    """The manifest of the dataset at `dataset`, a folder or s3:// address, or of what dvc.lock knows there.

    None when there is neither, or it was made of other photographs, or what dvc.lock knows is of other
    parameters. Raises InputError when what lies there is.
    """
    from components.build_dataset.stage import has_parameters, require_parameters
    from components.object_store.dataset import find_manifest
    from pipelines import photographs
    from pipelines.dvc import Checkout

    if "://" not in dataset and photographs.are_new(config):
        return None
    if lying_there := find_manifest(dataset):
        require_parameters(config, lying_there, dataset)
        return lying_there
    if "://" in dataset or not Path(".dvc").is_dir():
        return None
    known = Checkout().manifest(dataset)
    return known if known and has_parameters(config, known) else None
