"""Commits, as folders to work in."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from progan.errors import InputError, Interrupted

PROGAN = "from pipelines.cli import main; main()"  # of the folder it runs in, not of what is installed


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The files of a commit in a folder of their own."""
    with TemporaryDirectory() as folder:
        where = Path(folder) / commit[:10]
        output("git", "worktree", "add", "--quiet", "--detach", str(where), commit)
        try:
            yield where
        finally:
            output("git", "worktree", "remove", "--force", str(where))


def changed_files(folder: Path) -> dict[str, str | None]:
    """{path: text} of what differs from the commit and is not ignored; None for a file that is gone."""
    listed = output("git", "ls-files", "-z", "--modified", "--others", "--exclude-standard", cwd=folder)
    files = {name: folder / name for name in listed.split("\0") if name}
    return {name: file.read_text() if file.exists() else None for name, file in files.items()}


def progan(*arguments: str, cwd: Path) -> str:
    """What the command prints, as the code of the commit in `cwd` has it."""
    return output(sys.executable, "-c", PROGAN, *arguments, cwd=cwd)


def output(*command: str, cwd: Path | None = None) -> str:
    """What a command prints; where it fails, so do we, by the last line of what it says."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    print(done.stderr, end="", file=sys.stderr)
    if done.returncode:
        error = Interrupted if done.returncode == Interrupted.exit_code else InputError
        raise error(done.stderr.strip().rpartition("\n")[2] or f"{command[0]}: exit code {done.returncode}")
    return done.stdout
