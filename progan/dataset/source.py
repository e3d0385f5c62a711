"""What a source of photographs is: a list of items in a fixed order, each of which becomes one image."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class UnusableImage(Exception):
    """This one image cannot be used; the message says why. The build counts it and goes on."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a source: its name there, and its class (an index into the source's `classes`)."""

    name: str
    label: int | None


@dataclass(frozen=True)
class Picture:
    """An image as the dataset stores its highest level."""

    pixels: np.ndarray  # uint8 [R,R,C], 0 … 255
    enlarged: bool  # the original had fewer pixels than the result


class Source(Protocol):
    """What `build` needs to know; it must survive pickling, for it travels to the worker processes."""

    @property
    def channels(self) -> int: ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their labels; empty when the source has no labels."""

    @property
    def items(self) -> tuple[Item, ...]:
        """All images, sorted by name."""

    @property
    def identity(self) -> str:
        """A digest that changes when the input does: the finished shards of other input are not used."""

    def load(self, item: Item) -> Picture:
        """Decode one item, once. Raises UnusableImage."""


def printable(name: str) -> str:
    """`name` as valid Unicode: file names on Linux may hold any bytes, Parquet and JSON may not."""
    return name.encode(errors="surrogateescape").decode(errors="replace")
