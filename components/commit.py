"""Which code made a result."""

import os
import subprocess


def git_commit() -> str:
    """The commit that the image was built from (PROGAN_GIT_COMMIT), else the one that is checked out, "+"
    behind it when files differ from it; "none" outside git."""
    if built_from := os.environ.get("PROGAN_GIT_COMMIT"):
        return built_from
    command = ["git", "describe", "--always", "--abbrev=40", "--match=", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "none"
    except FileNotFoundError:
        return "none"
