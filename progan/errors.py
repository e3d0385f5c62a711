"""The errors that are not bugs, and the exit codes of the commands that they end."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """The user's input is wrong. The message has one line per fault: where, what is wrong, what to do."""

    exit_code = 2


class Interrupted(Exception):
    """The work was stopped from outside and has saved its state; the same command continues it."""

    exit_code = 75  # EX_TEMPFAIL


class Unavailable(Interrupted):
    """A service does not answer; the same command may succeed later."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The most similar of `known` to the unknown `name`; None if none is similar."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def hint(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """A hint on the unknown `name`: the nearest of `known`; if none is near, `otherwise` or all."""
    near = nearest(name, known)
    return f"did you mean {near}?" if near else otherwise or f"known here: {', '.join(known)}"
