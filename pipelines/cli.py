"""The `progan` command, by which people, DVC, containers and CI call every stage."""

import sys
from typing import Annotated, Any

import typer

from pipelines.commands import (
    collect_commands,
    dataset_commands,
    doctor_commands,
    picture_commands,
    pipeline_commands,
    plan_commands,
    preset_commands,
    promote_commands,
    retrain_commands,
    stage_commands,
    watch_commands,
)
from pipelines.commands.common_options import Group
from progan.errors import InputError, Interrupted
from progan.files import disk_errors
from progan.terminal import replace_unencodable

CTRL_C = 130  # typer's status after Ctrl-C
UsageError: Any = typer.BadParameter.__base__  # typer's error for a command line that it cannot parse

PANELS: dict[str, list[Any]] = {  # panels of `progan --help` and their commands, in order
    "Before and after a run": [
        plan_commands.plan,
        stage_commands.import_official,
        stage_commands.summary,
        watch_commands.watch,
        preset_commands.app,
        dataset_commands.app,
    ],
    "Stages that dvc repro runs": [
        stage_commands.paint,
        stage_commands.build_dataset,
        stage_commands.warm_start,
        stage_commands.score_network,
        stage_commands.train,
        stage_commands.evaluate,
        stage_commands.gate,
        stage_commands.register,
        stage_commands.report,
    ],
    "Pictures and films": [
        picture_commands.generate,
        picture_commands.interpolate,
        picture_commands.timelapse,
        picture_commands.compare,
        picture_commands.explore,
        picture_commands.export,
    ],
    "Registry": [promote_commands.promote, promote_commands.rollback],
    "The pipeline, here and on a cluster": [
        pipeline_commands.run,
        pipeline_commands.compile,
        pipeline_commands.submit,
        retrain_commands.retrain,
        retrain_commands.start_from_champion,
        collect_commands.collect,
        doctor_commands.app,
    ],
}

app = typer.Typer(
    cls=Group,
    help="Progressive GANs: photographs in, a registered, served generator out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for panel, commands in PANELS.items():
    for command in commands:
        if isinstance(command, typer.Typer):
            app.add_typer(command, rich_help_panel=panel)
        else:
            app.command(rich_help_panel=panel)(command)


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; an error that people can cause becomes one line on stderr and its exit code."""
    replace_unencodable()
    try:
        with disk_errors():
            status = app(standalone_mode=False)
        if status == CTRL_C:
            raise Interrupted("stopped by Ctrl-C; run the same command again, finished work is kept")
        sys.exit(status)
    except UsageError as error:
        message = error.format_message().removesuffix(".").replace("Value error, ", "")
        if message:  # a group without arguments prints its help and has none
            print(f"progan: {message}; see {error.ctx.command_path} --help", file=sys.stderr)
        sys.exit(error.exit_code)
    except (InputError, Interrupted) as error:
        if "--debug" in sys.argv:
            raise
        print(f"progan: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
