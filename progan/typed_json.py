"""JSON as values of frozen dataclasses, the inverse of `dataclasses.asdict`.

It needs the standard library alone, for a phase must train on machines without pydantic.
"""

import dataclasses
import reprlib
import types
import typing
from typing import Any, TypeVar

from progan.validation import default_of, field_types

T = TypeVar("T")


def from_json(kind: type[T], value: Any) -> T:
    """The dataclass `kind` that `value`, which JSON gave, describes. A field with a default may be missing.

    Raises ValueError, which names the key of the first fault and what is wrong with it.
    """
    read: T = _read(kind, value, "")
    return read


def to_json(value: Any) -> dict[str, Any]:
    """A dataclass as an object of JSON, without the fields at their default.

    So a field that is added later leaves the files as they were, and with them the digests they go by.
    """
    defaults = {field.name: default_of(field) for field in dataclasses.fields(value)}
    return {
        name: item
        for name, item in dataclasses.asdict(value).items()
        if getattr(value, name) != defaults[name]
    }


def _read(annotation: Any, value: Any, key: str) -> Any:
    arguments = typing.get_args(annotation)
    match typing.get_origin(annotation):
        case typing.Annotated:
            return _read(arguments[0], value, key)
        case types.UnionType:  # X | None
            return None if value is None else _read(arguments[0], value, key)
        case typing.Literal:
            if not any(type(value) is type(choice) and value == choice for choice in arguments):
                raise _fault(key, " or ".join(map(repr, arguments)), value)
            return value
        case kind if kind is tuple:
            return _read_list(arguments, value, key)
        case kind if kind is dict:
            if not isinstance(value, dict):
                raise _fault(key, "an object", value)
            return {name: _read(arguments[1], item, _below(key, name)) for name, item in value.items()}
    if dataclasses.is_dataclass(annotation):
        return _read_object(annotation, value, key)
    if annotation in (Any, type(value)) or (annotation is float and type(value) is int):
        return value
    raise _fault(key, annotation.__name__, value)


def _read_list(arguments: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
    """A tuple: of any length if its type is tuple[X, ...]."""
    if not isinstance(value, list):
        raise _fault(key, "a list", value)
    kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
    if len(value) != len(kinds):
        raise _fault(key, f"a list of {len(kinds)}", value)
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_read(kind, item, _below(key, index)) for index, (kind, item) in pairs)


def _read_object(cls: Any, value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        raise _fault(key, "an object", value)
    kinds = field_types(cls)
    for name in value:
        if name not in kinds:
            raise ValueError(f"{_below(key, name)}: unknown")
    for field in dataclasses.fields(cls):
        if field.name not in value and default_of(field) is dataclasses.MISSING:
            raise ValueError(f"{_below(key, field.name)}: missing")
    items = {name: _read(kinds[name], item, _below(key, name)) for name, item in value.items()}
    try:
        return cls(**items)
    except ValueError as error:  # a constraint of its fields
        raise ValueError(_below(key, error)) from None


def _below(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _fault(key: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{key or 'the file'}: {expected} is expected, not {reprlib.repr(value)}")
