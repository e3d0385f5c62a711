"""Does training go well? What its history and its pictures say, and what people do about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from progan.history import Row

SKIPPED_SHARE = 0.1  # of the updates since the row before
SWD_RATIO = 2.0  # to the best SWD since the fade ended: fading new layers in costs some at first
ALIKE = 0.5  # of the way from the MS-SSIM of reals to 1


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, in one line, and its remedy in another."""

    what: str
    remedy: str


@dataclass(frozen=True)
class Likeness:
    """MS-SSIM of pairs of generated images and of as many pairs of real ones, from 0 to 1: all the same."""

    generated: float
    real: float


def problems(rows: Sequence[Row], likeness: Likeness | None = None) -> tuple[Problem, ...]:
    """The problems of a phase with this history, the newest row last. likeness: of its newest picture."""
    checks = _losses(rows), _skipped_updates(rows), _swd(rows), _likeness(likeness)
    return tuple(problem for problem in checks if problem)


def _losses(rows: Sequence[Row]) -> Problem | None:
    newest = rows[-1]
    names = [
        name
        for name, loss in (("discriminator", newest.d_loss), ("generator", newest.g_loss))
        if loss is not None and not math.isfinite(loss)
    ]
    if not names:
        return None
    return Problem(
        f"the loss of the {' and the '.join(names)} is not finite",
        "lower learning_rate, or use precision float32; the phase resumes from its newest snapshot",
    )


def _skipped_updates(rows: Sequence[Row]) -> Problem | None:
    before, newest = (rows[-2] if len(rows) > 1 else rows[-1]), rows[-1]
    updates = (newest.images - before.images) / newest.minibatch
    skipped = newest.skipped - before.skipped
    if skipped <= SKIPPED_SHARE * updates:
        return None
    return Problem(
        f"{skipped} of {updates:.0f} iterations skipped an update, as gradients were not finite",
        "lower learning_rate, or use precision float32",
    )


def _swd(rows: Sequence[Row]) -> Problem | None:
    measured = [row.swd for row in rows if row.swd is not None and row.alpha == 1]
    if not measured or not measured[-1] > SWD_RATIO * min(measured):
        return None
    return Problem(
        f"SWD is {measured[-1]:.1f}, after {min(measured):.1f} at its best",
        "if it stays so, lower learning_rate or raise minibatch and start the phase again",
    )


def _likeness(likeness: Likeness | None) -> Problem | None:
    if likeness is None or likeness.generated <= likeness.real + ALIKE * (1 - likeness.real):
        return None
    return Problem(
        f"the images are much alike: MS-SSIM {likeness.generated:.2f}, of real ones {likeness.real:.2f}",
        "the generator has collapsed: start the phase again with a lower learning_rate or another seed",
    )
