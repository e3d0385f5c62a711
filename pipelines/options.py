"""Options that several commands share, and what they stand for."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipelines.profile import Profile
    from progan.config import Config
    from progan.dataset.manifest import Manifest

Params = Annotated[Path, typer.Option(help="The parameters: all that decides the result.")]
Dataset = Annotated[Path, typer.Option(help="The folder of the built dataset.")]
ProfileFile = Annotated[Path, typer.Option("--profile", help="The cluster profile: where it runs.")]
Image = Annotated[str | None, typer.Option(help="The image, in the place of the profile's.")]
Snapshots = Annotated[
    str,
    typer.Option(
        envvar="PROGAN_SNAPSHOTS", help="Where state is kept to go on from: a folder, or an s3:// address."
    ),
]
Host = Annotated[str, typer.Option(envvar="KF_PIPELINES_ENDPOINT", help="Of Kubeflow Pipelines.")]
Experiment = Annotated[str | None, typer.Option(help="Made if there is none; the model's name if not given.")]
Namespace = Annotated[str | None, typer.Option(help="In a multi-user Kubeflow; the profile's if not given.")]
TokenFile = Annotated[
    Path,
    typer.Option(envvar="KF_PIPELINES_SA_TOKEN_PATH", help="A file with a token; a pod has its own."),
]
Ui = Annotated[str | None, typer.Option(help="The address people open, if it is not the host.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a machine to read.")]

PARAMS, DATASET, PROFILE = Path("params.yaml"), Path("data/multires"), Path("infra/cluster.yaml")
SNAPSHOTS = "snapshots"
TOKEN_OF_POD = Path("/var/run/secrets/kubeflow/pipelines/token")


def print_json(value: Any) -> None:
    """What `--json` prints, and nothing else on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def phase_keys(context: typer.Context) -> list[str]:
    """The phases of the parameter file, for a shell to complete; none when it cannot be read."""
    import yaml

    try:
        values = yaml.safe_load(Path(context.params.get("params") or PARAMS).read_text())
        return list(values["phases"])
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        return []


def planned_dataset(config: "Config", dataset: str) -> str:
    """The digest of the dataset at `dataset`; empty, and said, when none is known."""
    from pipelines.checkout import OutOfReach

    try:
        if manifest := known_dataset(config, dataset):
            return manifest.digest
    except OutOfReach as error:
        typer.echo(error, err=True)
    typer.echo(
        f"{dataset}: no dataset here; the run's first task builds it, or takes what it finds", err=True
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
    from pipelines.checkout import Checkout

    if "://" not in dataset and photographs.are_new(config):
        return None
    if lying_there := find_manifest(dataset):
        require_parameters(config, lying_there, dataset)
        return lying_there
    if "://" in dataset or not Path(".dvc").is_dir():
        return None
    known = Checkout().manifest(dataset)
    return known if known and has_parameters(config, known) else None


def read_all(params: Path, profile: Path, image: str | None, dataset: Path) -> "tuple[Config, Profile, str]":
    """Parameters, cluster profile and the digest of the dataset."""
    from pipelines.profile import load_profile
    from progan import config

    loaded = config.load(params)
    return loaded, load_profile(profile, image), planned_dataset(loaded, str(dataset))
