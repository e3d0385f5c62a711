"""`progan presets`: the paper's settings, and quicker ones, by name."""

from typing import Annotated

import typer

from pipelines.commands import common_options

app = typer.Typer(
    name="presets", help="The paper's settings, and quicker ones, by name.", no_args_is_help=True
)


@app.command(name="list")
def list_presets(as_json: common_options.Json = False) -> None:
    """List the presets, one per line.

    Example: progan presets list
    """
    from progan import presets

    listed = presets.listed()
    if as_json:
        common_options.print_json(listed)
        return
    width = max(map(len, listed))
    for name, description in listed.items():
        print(f"{name:{width}}  {description}")


def _names() -> list[str]:
    from progan import presets

    return list(presets.listed())


Name = Annotated[
    str,
    typer.Argument(help="A name from `progan presets list`.", autocompletion=_names, metavar="NAME"),
]


@app.command()
def show(name: Name) -> None:
    """Print a preset as a complete parameter file.

    Example: progan presets show cifar10 > params.yaml
    """
    from progan import presets

    print(presets.to_yaml(name), end="")
