"""The comment on a pull request: what a run would cost, and how the pipeline and the metrics change."""

from pathlib import Path

from ci.pipeline_diff import difference
from ci.worktrees import checked_out, output, progan
from progan.errors import InputError

LONGEST_DIFFERENCE = 400  # lines


def description(base: str) -> str:
    """What merging the checked-out commit into `base` would change, as Markdown."""
    base, head = output("git", "rev-parse", base, "HEAD").split()
    plan = progan("plan", "--cluster", "--md", cwd=Path())
    sections = [plan, _pipelines(base, head), metrics(Path(), base, head)]
    footer = f"<sub>Made by the code of {head[:10]}, compared with {base[:10]}.</sub>"
    return "\n\n".join(section.strip() for section in [*sections, footer] if section) + "\n"


def _pipelines(base: str, head: str) -> str:
    """How the compiled pipelines of two commits differ."""
    before, after = _compiled(base), _compiled(head)
    if before is None or after is None:
        return f"**The pipeline** of {(head if after is None else base)[:10]} does not compile here."
    try:
        lines = difference(before, after)
    except InputError as error:
        return f"**The pipeline**: {error}."
    if not lines:
        return "**The pipeline** compiles to the same."
    cut = [f"… and {len(lines) - LONGEST_DIFFERENCE} more lines"] if len(lines) > LONGEST_DIFFERENCE else []
    return _folded("<b>The pipeline</b>", ["```diff", *lines[:LONGEST_DIFFERENCE], *cut, "```"])


def _compiled(commit: str) -> str | None:
    """A commit's pipeline; None if it does not compile with the packages installed here."""
    with checked_out(commit) as folder:
        try:
            progan("compile", cwd=folder)
        except InputError:
            return None
        return (folder / "pipeline.yaml").read_text()


def metrics(folder: Path, *commits: str) -> str:
    """How the metrics differ between two commits, or between the commit and the files in `folder`.

    Empty if there is no difference, or if DVC does not have the metrics of either side.
    """
    command = ["dvc", "metrics", "diff", "--md", "--precision", "4", *commits]
    table = output(*command, cwd=folder).strip()
    rows = table.splitlines()[2:]  # below the header
    return _folded("<b>The metrics</b>", [table]) if rows else ""


def _folded(title: str, lines: list[str]) -> str:
    return "\n".join([f"<details><summary>{title}</summary>", "", *lines, "", "</details>"])
