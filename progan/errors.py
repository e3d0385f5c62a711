"""The ways a command ends early that are nobody's bug, and their exit codes."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """The user's input is wrong. The message is one line: where, what is wrong, what to do."""

    exit_code = 2


class Interrupted(Exception):
    """The work was stopped from outside after saving its state: run the same command again to go on."""

    exit_code = 75  # EX_TEMPFAIL


class Unavailable(Interrupted):
    """Something outside does not answer: the same command may find it back."""


def hint(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """Which of `known` the unknown `name` was meant to be; if none is near, `otherwise`, or all of them."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise or f"known here: {', '.join(known)}"
