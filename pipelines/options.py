"""Options that several commands share, and what they stand for."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipelines.profile import Profile
    from progan.config import Config

Params = Annotated[Path, typer.Option(help="The parameters: all that decides the result.")]
Dataset = Annotated[Path, typer.Option(help="The folder of the built dataset.")]
ProfileFile = Annotated[Path, typer.Option("--profile", help="The cluster profile: where it runs.")]
Image = Annotated[str | None, typer.Option(help="The image, in the place of the profile's.")]
Snapshots = Annotated[
    str, typer.Option(help="Where state is kept to go on from: a folder, or an s3:// address.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a machine to read.")]

PARAMS, DATASET, PROFILE = Path("params.yaml"), Path("data/multires"), Path("infra/cluster.yaml")
SNAPSHOTS = "snapshots"


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
    """The digest of the dataset at `dataset`, a folder or s3://; empty, and said, when none is there."""
    from components.build_dataset.stage import require_parameters
    from components.object_store.dataset import find_manifest

    if manifest := find_manifest(dataset):
        require_parameters(config, manifest, dataset)
        return manifest.digest
    typer.echo(
        f"{dataset}: no dataset here; the run's first task builds it, or takes what it finds", err=True
    )
    return ""


def read_all(params: Path, profile: Path, image: str | None, dataset: Path) -> "tuple[Config, Profile, str]":
    """Parameters, cluster profile and the digest of the dataset."""
    from pipelines.profile import load_profile
    from progan import config

    loaded = config.load(params)
    return loaded, load_profile(profile, image), planned_dataset(loaded, str(dataset))
