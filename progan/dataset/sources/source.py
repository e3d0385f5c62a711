"""The interface of a source of photographs: items in a fixed order, each of which gives one image."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from progan.config import DatasetConfig
from progan.errors import InputError


@dataclass(frozen=True, slots=True)
class Check:
    """The result of comparing a reconstructed image with the original's published digest."""

    result: Literal["exact", "close", "failed"]
    detail: str


class UnusableImage(Exception):
    """A single image cannot be used; the message says why. The build counts it and continues."""

    def __init__(self, why: str, check: Check | None = None) -> None:
        super().__init__(why)
        self.check = check


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a source: its name and its label, an index into the source's `classes`."""

    name: str
    label: int | None


class Items(Protocol):
    """A sequence of items: a tuple, or for millions of them an object that creates each on access."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Item: ...

    def __iter__(self) -> Iterator[Item]: ...


@dataclass(frozen=True)
class Picture:
    """A decoded image, the top level of its pyramid."""

    pixels: np.ndarray  # uint8 [S,S,C], 0 … 255, S a power of two, at least the dataset's resolution
    enlarged: bool = False  # the original had fewer pixels than the result
    check: Check | None = None  # of sources that reconstruct published images


class Source(Protocol):
    """What `build` reads. It must be picklable, because it is sent to the worker processes."""

    @property
    def channels(self) -> int: ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their labels; empty if the source has no labels."""

    @property
    def items(self) -> Items:
        """All images, with unique names, in an order that does not depend on the machine."""

    @property
    def identity(self) -> str:
        """A digest that changes with the input, so that shards built from other input are not used."""

    def load(self, item: Item) -> Picture:
        """Decode one item; it is called once per item. Raises UnusableImage."""


def refuse_attributes(config: DatasetConfig) -> None:
    """Raise InputError if `config` chooses attributes, for sources that have none."""
    if config.label_attributes:
        raise InputError(f"dataset.label_attributes: {config.source} has no attributes; use []")


def require_at_most(config: DatasetConfig, side: int) -> None:
    """Raise InputError if the resolution exceeds `side`: sources of small images are not enlarged."""
    if config.resolution > side:
        raise InputError(
            f"dataset.resolution: {config.resolution}: {config.source} has images of {side} px; "
            f"use {side} or less"
        )


def printable(name: str) -> str:
    """`name` as valid Unicode: file names on Linux may contain any bytes, Parquet and JSON may not."""
    return name.encode(errors="surrogateescape").decode(errors="replace")
