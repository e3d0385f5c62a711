"""Resolutions, powers of two from 4 to 1024: their keys, and the number of feature maps at each.

This module needs only the standard library: a registered model ships it together with progan/networks/.
"""

from typing import NamedTuple

RESOLUTIONS = tuple(2**exponent for exponent in range(2, 11))  # 4 … 1024


def resolutions_between(lowest: int, highest: int) -> tuple[int, ...]:
    """The resolutions from `lowest` to `highest`, both included: 4, 16 → (4, 8, 16)."""
    return tuple(resolution for resolution in RESOLUTIONS if lowest <= resolution <= highest)


def phase_key(resolution: int) -> str:
    """The key of the phase, of the dataset's level and of the layers at `resolution`: 8 → "r0008"."""
    return f"r{resolution:04d}"


def resolution_of(key: str) -> int:
    """The inverse of `phase_key`; ValueError if `key` is not a phase key."""
    return int(key.removeprefix("r"))


class FeatureMaps(NamedTuple):
    """The channel rule: min(⌊base / 2^(stage · decay)⌋, most) maps after a stage (paper, appendix A)."""

    base: int
    decay: float
    most: int
    divisor: int  # of the result

    def after(self, stage: int) -> int:
        return min(int(self.base / 2 ** (stage * self.decay)), self.most) // self.divisor

    def at(self, resolution: int) -> int:
        """The maps of the block at `resolution` = 2^r, which are those after stage r - 1."""
        return self.after(resolution.bit_length() - 2)
