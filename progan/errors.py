"""The ways a command ends early that are nobody's bug, and their exit codes."""


class InputError(Exception):
    """The user's input is wrong. The message is one line: where, what is wrong, what to do."""

    exit_code = 2


class Interrupted(Exception):
    """The work was stopped from outside after saving its state: run the same command again to go on."""

    exit_code = 75  # EX_TEMPFAIL


class Unavailable(Interrupted):
    """Something outside does not answer: the same command may find it back."""
