"""Options that several commands share, their defaults, and what the commands do with them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from components import PROFILE as PROFILE

if TYPE_CHECKING:
    from progan.config import Config


class Group(TyperGroup):
    """Commands whose help has arguments in capitals and flags without <bool>, typer's own flags, too."""

    def get_params(self, ctx: Any) -> list[Any]:
        return list(map(_as_shown, super().get_params(ctx)))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        for param in command.get_params(ctx) if command else ():
            _as_shown(param)
        return command


def _as_shown(param: Any) -> Any:
    if getattr(param, "is_flag", False):
        param.metavar = ""
    elif param.param_type_name == "argument":
        param.metavar = param.metavar or param.name.upper()
    return param


Params = Annotated[Path, typer.Option(help="Parameter file: all that decides the result.")]
Dataset = Annotated[Path, typer.Option(help="Folder of the built dataset.")]
ProfileFile = Annotated[Path, typer.Option("--profile", help="Cluster profile: where the run takes place.")]
Image = Annotated[str | None, typer.Option(help="Image to use instead of the profile's.")]
Snapshots = Annotated[
    str,
    typer.Option(
        envvar="PROGAN_SNAPSHOTS",
        help="Where to keep snapshots to resume from: a folder or an s3:// address.",
    ),
]
Host = Annotated[
    str,
    typer.Option(envvar="KF_PIPELINES_ENDPOINT", help="Address of Kubeflow Pipelines, as people open it."),
]
Experiment = Annotated[
    str | None, typer.Option(help="Experiment, created if missing; default: the model's name.")
]
Namespace = Annotated[
    str | None, typer.Option(help="Namespace in a multi-user Kubeflow; default: the profile's.")
]
TokenFile = Annotated[
    Path,
    typer.Option(envvar="KF_PIPELINES_SA_TOKEN_PATH", help="File with a token; a pod has its own."),
]
Ui = Annotated[
    str | None,
    typer.Option(
        envvar="KF_PIPELINES_UI_ENDPOINT", help="Address that people open, if the host is an API server."
    ),
]
MaxCost = Annotated[
    float | None, typer.Option(help="Refuse a run that may cost more, in the profile's currency.")
]
MaxHours = Annotated[float | None, typer.Option(help="Refuse a run that may take longer.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

PARAMS, DATASET = Path("params.yaml"), Path("data/multires")
SNAPSHOTS = "snapshots"


def print_json(value: Any) -> None:
    """Print what `--json` asks for; nothing else goes to standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def read_params(file: Path) -> "tuple[Any, Config]":
    """The contents of the parameter file, and the same checked."""
    from progan import config

    contents = config.read_yaml(file, "run in the project's root, or give --params")
    return contents, config.parse(contents, str(file))


def phase_keys(context: typer.Context) -> list[str]:
    """The phases of the parameter file, for a shell to complete; none if it cannot be read."""
    import yaml

    try:
        values = yaml.safe_load(Path(context.params.get("params") or PARAMS).read_text())
        return list(values["phases"])
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        return []
