"""The pipeline as IR YAML, which Kubeflow Pipelines runs."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.profile import Profile, Storage
    from progan.config import Config


def compiled(config: "Config", profile: "Profile", dataset_digest: str) -> str:
    """The pipeline as two YAML documents: what runs, and what Kubernetes gets to know of it.

    Raises an InputError that names everything for which the pipeline would fail on a cluster.
    """
    from kfp.compiler import Compiler

    from pipelines.placement import on_cluster
    from pipelines.progressive_training import progressive_training
    from pipelines.refusals import refuse

    refuse(config, profile)

    storage = storage_of(config, profile)
    pipeline = progressive_training(config, storage, dataset_digest, on_cluster(profile))
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        file = Path(folder) / "pipeline.yaml"
        Compiler().compile(pipeline, str(file))
        return file.read_text()


def storage_of(config: "Config", profile: "Profile") -> "Storage":
    """Where a run of these parameters and photographs keeps what outlives its pods."""
    from components.identity import dataset_name
    from pipelines import photographs

    return profile.storage.with_dataset(dataset_name(config, photographs.digest(config)))
