"""What a source of photographs is: a list of items in a fixed order, each of which becomes one image."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from progan.config import DatasetConfig
from progan.errors import InputError


@dataclass(frozen=True, slots=True)
class Check:
    """How a reconstructed image compares with the original's published digest."""

    result: Literal["exact", "close", "failed"]
    detail: str


class UnusableImage(Exception):
    """This one image cannot be used; the message says why. The build counts it and goes on."""

    def __init__(self, why: str, check: Check | None = None) -> None:
        super().__init__(why)
        self.check = check


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a source: its name there, and its class (an index into the source's `classes`)."""

    name: str
    label: int | None


class Items(Protocol):
    """A tuple of items will do; millions of them are better made one by one, when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Item: ...

    def __iter__(self) -> Iterator[Item]: ...


@dataclass(frozen=True)
class Picture:
    """An image as it enters the pyramid, of whose levels the dataset keeps those that are wanted."""

    pixels: np.ndarray  # uint8 [S,S,C], 0 … 255, S a power of two, at least the dataset's resolution
    enlarged: bool = False  # the original had fewer pixels than the result
    check: Check | None = None  # from sources that reconstruct known images


class Source(Protocol):
    """What `build` needs to know; it must survive pickling, for it travels to the worker processes."""

    @property
    def channels(self) -> int: ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their labels; empty when the source has no labels."""

    @property
    def items(self) -> Items:
        """All images, under different names, in an order that does not depend on the machine."""

    @property
    def identity(self) -> str:
        """A digest that changes when the input does: the finished shards of other input are not used."""

    def load(self, item: Item) -> Picture:
        """Decode one item, once. Raises UnusableImage."""


def refuse_attributes(config: DatasetConfig) -> None:
    """For sources whose labels, if any, are no attributes to choose from."""
    if config.label_attributes:
        raise InputError(f"dataset.label_attributes: {config.source} has no attributes; use []")


def require_at_most(config: DatasetConfig, side: int) -> None:
    """For sources of small squares, which are never enlarged."""
    if config.resolution > side:
        raise InputError(
            f"dataset.resolution: {config.resolution}: {config.source} has images of {side} px; "
            f"use {side} or less"
        )


def printable(name: str) -> str:
    """`name` as valid Unicode: file names on Linux may hold any bytes, Parquet and JSON may not."""
    return name.encode(errors="surrogateescape").decode(errors="replace")
