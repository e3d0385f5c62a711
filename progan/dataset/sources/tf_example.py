"""A reader of tf.train.Example, the protocol buffer in TFRecord files, as far as images need it.

Example   {Features features = 1}
Features  {map<string, Feature> feature = 1}, an entry of which is {string key = 1, Feature value = 2}
Feature   {BytesList bytes_list = 1} or {Int64List int64_list = 3}
BytesList {repeated bytes value = 1}, Int64List {repeated int64 value = 1}
"""

from collections.abc import Iterator
from math import prod

import numpy as np

VARINT, EIGHT_BYTES, LENGTH_DELIMITED, FOUR_BYTES = 0, 1, 2, 5  # wire types


def parse_image(example: bytes) -> np.ndarray:
    """The features `shape` (int64 [C,H,W]) and `data` (bytes) as uint8 [C,H,W].

    Raises ValueError if they are missing, malformed or do not match.
    """
    feature: dict[bytes, memoryview] = {}
    for features in _messages(memoryview(example), 1):
        for entry in _messages(features, 1):
            feature.update(zip(map(bytes, _messages(entry, 1)), _messages(entry, 2), strict=False))
    if not {b"shape", b"data"} <= feature.keys():
        raise ValueError("it has no features `shape` and `data`")
    shape = [value for values in _messages(feature[b"shape"], 3) for value in _integers(values)]
    datas = [data for values in _messages(feature[b"data"], 1) for data in _messages(values, 1)]
    if len(shape) != 3 or min(shape) < 1 or [prod(shape)] != [len(data) for data in datas]:
        raise ValueError(f"its data does not fill its shape, {shape}")
    return np.frombuffer(datas[0], np.uint8).reshape(shape)


def _messages(message: memoryview, number: int) -> list[memoryview]:
    """The values of the fields `number` that are messages or bytes."""
    return [value for name, value in _fields(message) if name == number and isinstance(value, memoryview)]


def _integers(int64_list: memoryview) -> Iterator[int]:
    """Yield the values of an Int64List, which are separate fields or packed into one."""
    for _, value in _fields(int64_list):
        if isinstance(value, int):
            yield value
        else:
            position = 0
            while position < len(value):
                number, position = _varint(value, position)
                yield number


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field: a varint as an integer, anything else as bytes."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == VARINT:
            value, position = _varint(message, position)
            yield tag >> 3, value
            continue
        if kind == LENGTH_DELIMITED:
            length, position = _varint(message, position)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError("it is no tf.train.Example")
        if position + length > len(message):
            raise ValueError("it is no tf.train.Example, or is cut off")
        yield tag >> 3, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """The integer at `position`, in groups of 7 bits with the lowest first, and the position after it."""
    number = 0
    for shift in range(0, 70, 7):
        if position == len(message):
            break
        byte = message[position]
        number, position = number | (byte & 0x7F) << shift, position + 1
        if byte < 0x80:
            return number, position
    raise ValueError("it is no tf.train.Example, or is cut off")
