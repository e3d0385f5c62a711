"""Compile the pipeline to the YAML that Kubeflow Pipelines runs."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from components.identity import dataset_name
from pipelines import photographs
from pipelines.profile import Profile, Storage
from progan.config import Config


def compiled(config: Config, profile: Profile, dataset_digest: str) -> str:
    """The pipeline as two YAML documents: its tasks, and their settings for Kubernetes.

    Raises an InputError that names every reason for which the pipeline would fail on a cluster.
    """
    from kfp.compiler import Compiler

    from pipelines.placement import on_cluster
    from pipelines.progressive_training import progressive_training
    from pipelines.refusals import check_for_cluster

    check_for_cluster(config, profile)
    storage = storage_of(config, profile)
    pipeline = progressive_training(config, storage, dataset_digest, on_cluster(profile))
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        file = Path(folder) / "pipeline.yaml"
        Compiler().compile(pipeline, str(file))
        return file.read_text()


def storage_of(config: Config, profile: Profile) -> Storage:
    """The storage of a run with these parameters and photographs."""
    return profile.storage.with_dataset(dataset_name(config, photographs.digest(config)))
