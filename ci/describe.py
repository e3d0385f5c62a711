"""What a pull request is told: what a run would cost, and how the pipeline and the metrics differ."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ci.pipelines import difference
from progan.errors import InputError

LONGEST_DIFFERENCE = 400  # lines
PROGAN = "from pipelines.cli import main; main()"  # of the folder it runs in, not of what is installed


def description(base: str) -> str:
    """As Markdown, what merging the checked-out commit into `base` would mean."""
    base, head = output("git", "rev-parse", base, "HEAD").split()
    sections = [
        output("progan", "plan", "--cluster", "--md"),
        _pipelines(base, head),
        metrics(Path(), base, head),
    ]
    made_of = f"<sub>Made by the code of {head[:10]}, compared with {base[:10]}.</sub>"
    return "\n\n".join(section.strip() for section in [*sections, made_of] if section) + "\n"


def _pipelines(base: str, head: str) -> str:
    """The difference of what both compile to."""
    before, after = _compiled(base), _compiled(head)
    if before is None or after is None:
        return f"**The pipeline** of {(head if after is None else base)[:10]} does not compile here."
    lines = difference(before, after)
    if not lines:
        return "**The pipeline** compiles to the same."
    cut = [f"… and {len(lines) - LONGEST_DIFFERENCE} lines more"] if len(lines) > LONGEST_DIFFERENCE else []
    return _folded("<b>The pipeline</b>", ["```diff", *lines[:LONGEST_DIFFERENCE], *cut, "```"])


def _compiled(commit: str) -> str | None:
    """A commit's pipeline; None where it does not compile with what is installed here."""
    with checked_out(commit) as folder:
        command = [sys.executable, "-c", PROGAN, "compile"]
        if subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL).returncode:
            return None
        return (folder / "pipeline.yaml").read_text()


def metrics(folder: Path, *commits: str) -> str:
    """How measures differ between two commits, or between what is checked out and what lies in `folder`.

    Empty where either side's cannot be had.
    """
    command = ["dvc", "metrics", "diff", "--md", "--precision", "4", *commits]
    table = output(*command, cwd=folder).strip()
    rows = table.splitlines()[2:]  # below the head
    return _folded("<b>The metrics</b>", [table]) if rows else ""


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


def _folded(title: str, lines: list[str]) -> str:
    return "\n".join([f"<details><summary>{title}</summary>", "", *lines, "", "</details>"])


def output(*command: str, cwd: Path | None = None) -> str:
    """What a command prints; where it fails, so do we, with what it says."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
