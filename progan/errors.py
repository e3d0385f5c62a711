"""The ways a command ends early that are nobody's bug, and their exit codes."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """The user's input is wrong. The message is one line a fault: where, what is wrong, what to do."""

    exit_code = 2


class Interrupted(Exception):
    """The work was stopped from outside after saving its state: run the same command again to go on."""

    exit_code = 75  # EX_TEMPFAIL


class Unavailable(Interrupted):
    """Something outside does not answer: the same command may find it back."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Which of `known` the unknown `name` was probably meant to be."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def hint(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """The nearest of `known` to the unknown `name`; if none is near, `otherwise`, or all of them."""
    near = nearest(name, known)
    return f"did you mean {near}?" if near else otherwise or f"known here: {', '.join(known)}"
