"""`python -m ci COMMAND`: the commands that jobs run besides make and progan."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from ci.forge import Status, current_forge
from progan.errors import InputError, Interrupted
from progan.files import parse_json, read_bytes


def main() -> None:
    """Parse the command line and run the function that has the command's name."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # dvc
    parser = argparse.ArgumentParser(prog="python -m ci", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(function: Callable[..., None], *arguments: str) -> None:
        subparser = commands.add_parser(function.__name__.replace("_", "-"), help=function.__doc__)
        for argument in arguments:
            subparser.add_argument(argument)
        subparser.set_defaults(function=function)

    command(describe, "base")
    command(comment, "file")
    command(sign_in)
    command(to_do)
    command(announce, "output")
    command(propose, "branch", "title")
    command(collect, "run")
    arguments = vars(parser.parse_args())
    try:
        arguments.pop("function")(**arguments)
    except (InputError, Interrupted) as error:
        print(f"ci: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def describe(base: str) -> None:
    """Print, as Markdown, what merging the checked-out commit into a base would change."""
    from ci.pull_request import description

    print(description(base), end="")


def comment(file: str) -> None:
    """Write the contents of a file as a comment on the pull request, in place of the previous one."""
    forge, text = current_forge(), read_bytes(Path(file), "the job that writes it has failed")
    number = forge.pull_request()
    if number is None:
        print("The pull request is closed or has moved on: no comment.")
    else:
        forge.comment(number, "plan", text.decode(errors="replace"))


def sign_in() -> None:
    """Write the short-lived tokens that the cluster and the object store ask for."""
    from ci import sign_in

    sign_in.sign_in(current_forge())


def to_do() -> None:
    """Print the number of tasks to do, from `progan plan --json`, as an output of a GitHub step."""
    print(f"to_do={number_to_do(sys.stdin.buffer.read())}")


def number_to_do(plan: bytes) -> int:
    """The number of tasks to do in a plan; InputError if `progan plan --json` did not print it."""
    try:
        return int(parse_json(plan)["totals"]["to_do"])
    except (ValueError, LookupError, TypeError, OverflowError):
        raise InputError("no plan; pipe the output of progan plan --json to this command") from None


def announce(output: str) -> None:
    """Set the commit's status to the address of its run, the last word that `progan retrain` printed."""
    printed = read_bytes(Path(output), "the step that writes it has failed")
    forge, words = current_forge(), printed.decode(errors="replace").split()
    if words and words[-1].startswith(("http://", "https://")):
        status = Status("pending", words[-1])
        if forge.status(forge.commit) != status:
            forge.set_status(forge.commit, status, "The cluster trains")


def propose(branch: str, title: str) -> None:
    """Open a pull request with the files that differ from the commit."""
    from ci.worktrees import changed_files

    forge = current_forge()
    text = f"Made by [a job]({forge.job})."
    number = forge.propose(branch, forge.commit, changed_files(Path()), title, text)
    print(f"pull request {number}")


def collect(run: str) -> None:
    """Collect the results of runs that have ended: all that commits wait for, or the one that is named."""
    from ci.bring_home import bring_home

    bring_home(current_forge(), run)


if __name__ == "__main__":
    main()
