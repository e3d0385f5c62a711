"""`progan presets`: the settings of the paper, and quicker ones, by name."""

from typing import Annotated

import typer

from pipelines.commands import options

app = typer.Typer(
    name="presets", help="The paper's settings, and quicker ones, by name.", no_args_is_help=True
)


@app.command(name="list")
def list_presets(as_json: options.Json = False) -> None:
    """List the presets, a line each.

    Example: progan presets list
    """
    from progan import presets

    listed = presets.listed()
    if as_json:
        options.print_json(listed)
        return
    width = max(map(len, listed))
    for name, about in listed.items():
        print(f"{name:{width}}  {about}")


def _names() -> list[str]:
    from progan import presets

    return list(presets.listed())


Name = Annotated[
    str,
    typer.Argument(help="A name that `progan presets list` gives.", autocompletion=_names, metavar="NAME"),
]


@app.command()
def show(name: Name) -> None:
    """Print a preset as a whole parameter file.

    Example: progan presets show cifar10 > params.yaml
    """
    from progan import presets

    print(presets.to_yaml(name), end="")
