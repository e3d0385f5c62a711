"""`progan presets`: the paper's settings, and quicker ones, by name."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands import common_options

if TYPE_CHECKING:
    from pipelines.planning.step_times import Machine

QUICK = "-quick-", "-few-", "toy-"  # in the names of presets for a first look

app = typer.Typer(
    name="presets",
    cls=common_options.Group,
    help="The paper's settings, and quicker ones, by name.",
    no_args_is_help=True,
)


@app.command(name="list")
def list_presets(as_json: common_options.Json = False) -> None:
    """List the presets by group; the quick ones with the time that they would train here.

    Example: progan presets list
    """
    from itertools import groupby

    from pipelines.planning.here import machine_here
    from progan import presets

    if as_json:
        common_options.print_json(presets.listed())
        return
    machine = machine_here()
    for title, group in presets.grouped().items():
        print(title)
        width = max(map(len, group))
        for about, alike in groupby(group, group.__getitem__):
            first, *others = alike
            name = f"{first} … {others[-1]} ({1 + len(others)})" if others else first
            time = (
                f"; training: about {_time(first, machine)} here"
                if any(part in first for part in QUICK)
                else ""
            )
            print(f"  {name:{width}}  {about}{time}")


def _time(name: str, machine: "Machine") -> str:
    """The time that a preset trains on `machine`."""
    from pipelines.planning.show import duration
    from pipelines.planning.step_times import training_time
    from progan import config, presets
    from progan.phases import Schedule

    loaded = config.parse(presets.params(name), name)
    seconds = (
        training_time(loaded, key, Schedule(phase).total_images, machine, ()).seconds.likely
        for key, phase in loaded.phases.items()
    )
    hours = sum(seconds) / 3600
    return duration(hours, hours)


def _names() -> list[str]:
    from progan import presets

    return list(presets.listed())


Name = Annotated[str, typer.Argument(help="A name from `progan presets list`.", autocompletion=_names)]


@app.command()
def show(name: Name) -> None:
    """Print a preset as a complete parameter file.

    Example: progan presets show cifar10 > params.yaml
    """
    from progan import presets

    print(presets.to_yaml(name), end="")
