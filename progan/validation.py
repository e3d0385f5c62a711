"""Frozen dataclasses made from YAML: all faults of a file are reported at once, each with its key.

The dataclasses need nothing beyond Python; only `validated` and `examined`, which also convert and check
types, need pydantic. What a type cannot say is declared beside the field and in the class:

    minibatch: Annotated[int, POSITIVE, "number of images per iteration"]

    @staticmethod
    def check_group(minibatch: int, group: int) -> Faults:  # runs if both fields are valid
        if minibatch % group:
            yield "minibatch", f"must be a multiple of group, {group}"

A field with a default may be missing in the file.
"""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from progan.errors import InputError, hint, nearest

T = TypeVar("T")
Fault = tuple[str, str]  # a key relative to the object in question, "" for itself; what is wrong
Faults = Iterator[Fault]


@dataclass(frozen=True)
class Constraint:
    """What a field's value must be beyond its type. `null` meets every constraint."""

    description: str  # completes "must be …"
    holds: Callable[[Any], object]  # anything true or false


POSITIVE = Constraint("positive", lambda value: value > 0)
NOT_NEGATIVE = Constraint("0 or more", lambda value: value >= 0)


class Checked:
    """Base of a dataclass whose constraints and `check_…` methods hold however it was made."""

    def __post_init__(self) -> None:
        faults = [f"{key}: {problem}" for key, problem in _violations(type(self), vars(self))]
        if faults:
            raise ValueError("; ".join(faults))


def read_yaml(path: Path, when_missing: str) -> Any:
    """The contents of `path`; an InputError that names it, with `when_missing` as what to do."""
    try:
        return yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {when_missing}") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check what it is and who may read it"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def validated(cls: type[T], values: Any, where: str) -> T:
    """A `cls` made of `values`, which YAML gave; an InputError that lists every fault, headed by `where`."""
    value, faults = examined(cls, values)
    if faults:
        raise refusal(where, faults)
    return value


def refusal(where: str, faults: list[Fault]) -> InputError:
    """One fault in one line; several in a line each, below a line that counts them."""
    lines = [f"{key or 'the file'}: {problem}" for key, problem in faults]
    if len(lines) == 1:
        return InputError(f"{where}: {lines[0]}")
    return InputError("\n  ".join([f"{where}: {len(lines)} faults", *lines]))


def examined(annotation: Any, value: Any) -> tuple[Any, list[Fault]]:
    """`value` converted to the type `annotation`, and its faults; without faults the result is valid."""
    if dataclasses.is_dataclass(annotation):
        return _examined_object(annotation, value)
    match typing.get_origin(annotation), typing.get_args(annotation):
        case typing.Annotated, (inner, *_):
            return examined(inner, value)
        case kind, (_, item) if kind is dict and dataclasses.is_dataclass(item):
            return _examined_mapping(item, value)
        case kind, (item, _) if kind is tuple and dataclasses.is_dataclass(item):
            return _examined_list(item, value)
    return _examined_plain(annotation, value)


def field_types(cls: Any) -> dict[str, Any]:
    """The annotations of a dataclass's fields, with what stands beside their types, by name."""
    annotations = typing.get_type_hints(cls, include_extras=True)
    return {field.name: annotations[field.name] for field in dataclasses.fields(cls)}


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """The default of a dataclass's field; dataclasses.MISSING if it has none."""
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def _examined_object(cls: Any, values: Any) -> tuple[Any, list[Fault]]:
    if not isinstance(values, dict):
        return None, [("", "a mapping of keys to values is expected")]
    types = field_types(cls)
    unknown = [str(key) for key in values if key not in types]
    misspelt = {nearest(key, types) for key in unknown}
    faults = [(key, f"unknown parameter; {hint(key, types)}") for key in unknown]
    valid = {}
    for field in dataclasses.fields(cls):
        found: list[Fault] = []
        if field.name in values:
            value, found = examined(types[field.name], values[field.name])
        elif (value := default_of(field)) is dataclasses.MISSING:
            missing = "missing; add it, as the file that comes with the project has it"
            faults += [] if field.name in misspelt else [(field.name, missing)]
            continue
        faults += _below(field.name, found)
        if not found:
            valid[field.name] = value
    faults += _violations(cls, valid)
    return (None if faults else cls(**valid)), faults


def _examined_mapping(item: Any, values: Any) -> tuple[Any, list[Fault]]:
    if not isinstance(values, dict):
        return None, [("", "a mapping of keys to values is expected")]
    faults = [
        (str(key), "keys are strings here, such as r0004") for key in values if not isinstance(key, str)
    ]
    pairs = {key: examined(item, value) for key, value in values.items() if isinstance(key, str)}
    for key, (_, found) in pairs.items():
        faults += _below(key, found)
    return {key: value for key, (value, _) in pairs.items()}, faults


def _examined_list(item: Any, values: Any) -> tuple[Any, list[Fault]]:
    if not isinstance(values, list | tuple):
        return None, [("", "a list is expected")]
    pairs = [examined(item, value) for value in values]
    faults = [fault for index, (_, found) in enumerate(pairs) for fault in _below(str(index), found)]
    return tuple(value for value, _ in pairs), faults


def _examined_plain(annotation: Any, value: Any) -> tuple[Any, list[Fault]]:
    from pydantic import ValidationError

    try:
        return _adapter(annotation).validate_python(value), []
    except ValidationError as error:
        found = [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()]
        return None, [(key, problem[0].lower() + problem[1:]) for key, problem in found]


@functools.cache
def _adapter(annotation: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(annotation)


def _violations(cls: Any, values: dict[str, Any]) -> Faults:
    """The constraints and checks of `cls` that `values`, some of its fields, do not meet."""
    valid = dict(values)
    for name, annotation in field_types(cls).items():
        for constraint in getattr(annotation, "__metadata__", ()):
            value = valid.get(name)
            if isinstance(constraint, Constraint) and value is not None and not constraint.holds(value):
                yield name, f"must be {constraint.description}, not {value!r}"
                del valid[name]
    for check in (getattr(cls, name) for name in dir(cls) if name.startswith("check_")):
        needed = inspect.signature(check).parameters
        if needed.keys() <= valid.keys():
            yield from check(**{name: valid[name] for name in needed})


def _below(name: str, faults: list[Fault]) -> list[Fault]:
    """Faults of the value called `name`, with their keys as its owner has them."""
    return [(f"{name}.{key}" if key else name, problem) for key, problem in faults]
