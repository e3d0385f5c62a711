"""`progan presets`: the settings of the paper, and quicker ones, by name."""

from typing import Annotated

import typer

app = typer.Typer(help="The paper's settings, and quicker ones, by name.", no_args_is_help=True)


@app.command(name="list")
def list_presets() -> None:
    """List the presets, a line each."""
    from rich.console import Console
    from rich.table import Table

    from progan import presets

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, about in presets.listed().items():
        table.add_row(name, about)
    Console(highlight=False).print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(help="A name that `progan presets list` gives.")]) -> None:
    """Print a preset as a whole parameter file.

    Example: progan presets show cifar10 > params.yaml
    """
    from progan import presets

    print(presets.to_yaml(name), end="")
