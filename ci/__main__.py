"""`python -m ci COMMAND`: what the jobs run besides make and progan."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from ci.forge import Status, of_this_job
from progan.errors import InputError, Interrupted


def main() -> None:
    """Find the command by its function's name."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # dvc
    parser = argparse.ArgumentParser(prog="python -m ci", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(function: Callable[..., None], *arguments: str) -> None:
        added = commands.add_parser(function.__name__.replace("_", "-"), help=function.__doc__)
        for argument in arguments:
            added.add_argument(argument)
        added.set_defaults(function=function)

    command(describe, "base")
    command(comment, "file")
    command(sign_in)
    command(to_do)
    command(announce, "output")
    command(propose, "branch", "title")
    command(collect, "run")
    given = vars(parser.parse_args())
    try:
        given.pop("function")(**given)
    except (InputError, Interrupted) as error:
        print(f"ci: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def describe(base: str) -> None:
    """Print as Markdown what merging the checked-out commit into a base would mean."""
    from ci.pull_request import description

    print(description(base), end="")


def comment(file: str) -> None:
    """Say on the pull request what stands in a file, in the place of what was said before."""
    here = of_this_job()
    number = here.pull_request()
    if number is None:
        print("The pull request is closed or has moved on: nothing to say.")
    else:
        here.comment(number, "plan", Path(file).read_text(errors="replace"))


def sign_in() -> None:
    """Write the short-lived tokens that the cluster and the object store want."""
    from ci import sign_in

    sign_in.sign_in(of_this_job())


def to_do() -> None:
    """Read what `progan plan --json` prints; print the number of tasks as an output of a GitHub step."""
    print(f"to_do={json.load(sys.stdin)['totals']['to_do']}")


def announce(output: str) -> None:
    """Say on the commit where its run is: the address at the end of what `progan retrain` printed."""
    forge, lines = of_this_job(), Path(output).read_text().split()
    if lines and lines[-1].startswith(("http://", "https://")):
        status = Status("pending", lines[-1])
        if forge.status(forge.commit) != status:
            forge.set_status(forge.commit, status, "The cluster trains")


def propose(branch: str, title: str) -> None:
    """Open a pull request of what differs here from the commit."""
    from ci.worktrees import changed_files

    forge = of_this_job()
    number = forge.propose(
        branch, forge.commit, changed_files(Path()), title, f"Made by [a job]({forge.job})."
    )
    print(f"pull request {number}")


def collect(run: str) -> None:
    """Bring home what runs made that have ended: all that commits wait for, or the one that is named."""
    from ci.bring_home import bring_home

    bring_home(of_this_job(), run)


if __name__ == "__main__":
    main()
