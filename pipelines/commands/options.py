"""Options that several commands share, and what they stand for."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

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
MaxCost = Annotated[
    float | None, typer.Option(help="Refuse what may cost more, in the currency of the profile.")
]
MaxHours = Annotated[float | None, typer.Option(help="Refuse what may take longer.")]
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
