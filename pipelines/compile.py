"""`progan compile`: the pipeline as IR YAML, which Kubeflow Pipelines runs."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines import options

if TYPE_CHECKING:
    from pipelines.profile import Profile, Storage
    from progan.config import Config


def compile_pipeline(
    params: options.Params = options.PARAMS,
    profile: options.ProfileFile = options.PROFILE,
    image: options.Image = None,
    dataset: options.Dataset = options.DATASET,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("pipeline.yaml"),
) -> None:
    """Write the pipeline for a cluster; the same bytes as long as nothing changes.

    Example: progan compile --image registry.example.org/progan@sha256:…
    """
    from progan.files import atomic_file

    text = compiled(*options.read_all(params, profile, image, dataset))
    with atomic_file(out) as beside:
        beside.write_text(text)
    print(f"{out}: written; progan lint says whether a cluster can run it")


def compiled(config: "Config", profile: "Profile", dataset_digest: str) -> str:
    """The pipeline as two YAML documents: what runs, and what Kubernetes gets to know of it."""
    from kfp.compiler import Compiler

    from pipelines.placement import on_cluster
    from pipelines.progressive_training import progressive_training

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
