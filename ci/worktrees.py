"""Commits checked out in temporary folders, and commands that run there."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from progan.errors import InputError, Interrupted
from progan.files import read_bytes

PROGAN = "from pipelines.cli import main; main()"  # the code in the current folder, not the installed package


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A temporary folder with the files of a commit."""
    with TemporaryDirectory() as folder:
        worktree = Path(folder) / commit[:10]
        output("git", "worktree", "add", "--quiet", "--detach", str(worktree), commit)
        try:
            yield worktree
        finally:
            output("git", "worktree", "remove", "--force", str(worktree))


def changed_files(folder: Path) -> dict[str, str | None]:
    """{path: text} of the files that differ from the commit and are not ignored; None for a deleted file.

    Raises InputError if one is no text.
    """
    listed = output("git", "ls-files", "-z", "--modified", "--others", "--exclude-standard", cwd=folder)
    files = {name: folder / name for name in listed.split("\0") if name}
    return {name: _text(file) if file.exists() else None for name, file in files.items()}


def _text(file: Path) -> str:
    try:
        return read_bytes(file, "").decode()
    except UnicodeDecodeError:
        raise InputError(f"{file}: no text, as a pull request has; let git or DVC ignore it") from None


def progan(*arguments: str, cwd: Path) -> str:
    """The output of a progan command, run by the code in `cwd`."""
    return output(sys.executable, "-c", PROGAN, *arguments, cwd=cwd)


def output(*command: str, cwd: Path | None = None) -> str:
    """The output of a command; if it fails, an error with the last line of its standard error."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    print(done.stderr, end="", file=sys.stderr)
    if done.returncode:
        error = Interrupted if done.returncode == Interrupted.exit_code else InputError
        raise error(done.stderr.strip().rpartition("\n")[2] or f"{command[0]}: exit code {done.returncode}")
    return done.stdout
