"""Frozen dataclasses made from YAML and JSON: all faults of a file are reported at once, each with its key.

Types are converted nowhere, except for whole numbers where numbers are expected. What a type cannot say is
declared beside the field and in the class:

    minibatch: Annotated[int, POSITIVE, "number of images per iteration"]

    @staticmethod
    def check_group(minibatch: int, group: int) -> Faults:  # runs if both fields are valid
        if minibatch % group:
            yield "minibatch", f"must be a multiple of group, {group}"

A field with a default may be missing in the file. A registered model ships this module.
"""

import dataclasses
import inspect
import math
import re
import reprlib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml

from progan.errors import InputError, hint, nearest
from progan.files import digest_of, read_bytes

T = TypeVar("T")
Fault = tuple[str, str]  # a key relative to the object in question, "" for itself; what is wrong
Faults = Iterator[Fault]

SEAL = "digest"  # of the other values of a sealed object
WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
TEXT_IN_YAML = re.compile(r"[-+]?\d+e[-+]?\d+", re.IGNORECASE)  # 1e-8, which YAML 1.1 takes for text


@dataclass(frozen=True)
class Constraint:
    """What a field's value must be beyond its type. `null` meets every constraint."""

    description: str  # completes "must be …"
    holds: Callable[[Any], object]  # anything true or false


POSITIVE = Constraint("positive", lambda value: value > 0)
NOT_NEGATIVE = Constraint("0 or more", lambda value: value >= 0)


def between(low: float, high: float) -> Constraint:
    """Both included."""
    return Constraint(f"from {low} to {high}", lambda value: low <= value <= high)


class Checked:
    """Base of a dataclass whose constraints and `check_…` methods hold however it was made.

    TAG names the field, a literal, whose value chooses among the subclasses of a dataclass that has some; the
    one in which that field has a default is chosen where it is missing.
    """

    TAG: ClassVar[str] = ""

    def __post_init__(self) -> None:
        faults = [f"{key}: {problem}" for key, problem in _violations(type(self), vars(self))]
        if faults:
            raise ValueError("; ".join(faults))


def read_yaml(path: Path, when_missing: str) -> Any:
    """The contents of `path`; an InputError that names it, with `when_missing` as what to do."""
    return parse_yaml(read_bytes(path, when_missing), str(path))


def parse_yaml(content: str | bytes, where: str) -> Any:
    """The value in `content`; an InputError, headed by `where`, if it is not valid."""
    try:
        return yaml.load(content, _Loader)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        why = " ".join(str(error).split())[:200]  # PyYAML's constructors raise all of these
        raise InputError(f"{where}: not valid YAML: {why}") from None


class _Loader(yaml.SafeLoader):
    """Refuses a mapping in which a key stands twice, of which PyYAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{twice} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def validated(cls: type[T], values: Any, where: str) -> T:
    """A `cls` made of `values`, which YAML gave; an InputError that lists every fault, headed by `where`."""
    value, faults = examined(cls, values)
    if faults:
        raise refusal(where, faults)
    return value


def from_json(cls: type[T], values: Any) -> T:
    """A `cls` made of `values`, which JSON gave; a ValueError with the first fault."""
    value, faults = examined(cls, values)
    if faults:
        raise ValueError(_line(*faults[0]))
    return value


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


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """`values` with their digest, by which a later change of them shows."""
    return values | {SEAL: digest_of(values)}


def from_sealed_json(cls: type[T], values: Any) -> T:
    """A `cls` made of sealed `values`; a ValueError with the first fault, or if they were changed."""
    content = {name: values[name] for name in values if name != SEAL} if isinstance(values, dict) else values
    value = from_json(cls, content)
    if values.get(SEAL) != digest_of(content):
        raise ValueError(f"{SEAL}: is not that of the rest")
    return value


def refusal(where: str, faults: list[Fault]) -> InputError:
    """One fault in one line; several in a line each, below a line that counts them."""
    if len(faults) == 1:
        return InputError(f"{where}: {_line(*faults[0])}")
    lines = [_line(*fault) for fault in faults]
    return InputError("\n  ".join([f"{where}: {len(lines)} faults", *lines]))


def examined(annotation: Any, value: Any) -> tuple[Any, list[Fault]]:
    """`value` as one of the type `annotation`, and its faults; without faults the result is valid."""
    if variants := variants_of(annotation):
        return _examined_variant(annotation.TAG, variants, value)
    if dataclasses.is_dataclass(annotation):
        return _examined_object(annotation, value)
    arguments = typing.get_args(annotation)
    match typing.get_origin(annotation):
        case typing.Annotated:
            return examined(arguments[0], value)
        case types.UnionType | typing.Union:  # X | None
            return (None, []) if value is None else examined(arguments[0], value)
        case typing.Literal:
            equal = any(type(value) is type(choice) and value == choice for choice in arguments)
            return value, [] if equal else _wrong(" or ".join(map(repr, arguments)), value)
        case kind if kind is tuple:
            return _examined_tuple(arguments, value)
        case kind if kind is dict:
            return _examined_mapping(arguments[0], arguments[1], value)
    return _examined_plain(annotation, value)


def field_types(cls: Any) -> dict[str, Any]:
    """The annotations of a dataclass's fields, with what stands beside their types, by name."""
    annotations = typing.get_type_hints(cls, include_extras=True)
    return {field.name: annotations[field.name] for field in dataclasses.fields(cls)}


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """The default of a dataclass's field; dataclasses.MISSING if it has none."""
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def variants_of(cls: Any) -> dict[str, Any]:
    """The subclasses of a dataclass with a TAG, by the values of that field; {} for any other."""
    if "TAG" not in getattr(cls, "__dict__", {}) or not cls.TAG:
        return {}
    tagged = {subclass: field_types(subclass)[cls.TAG] for subclass in cls.__subclasses__()}
    return {typing.get_args(literal)[0]: subclass for subclass, literal in tagged.items()}


def _examined_variant(tag: str, variants: Mapping[str, Any], values: Any) -> tuple[Any, list[Fault]]:
    if not isinstance(values, dict):
        return None, _wrong("a mapping of keys to values", values)
    default = next(name for name, cls in variants.items() if hasattr(cls, tag))
    name = values.get(tag, default)
    if not isinstance(name, str) or name not in variants:
        return None, [(tag, f"must be one of {', '.join(variants)}, not {reprlib.repr(name)}")]
    return _examined_object(variants[name], values)


def _examined_object(cls: Any, values: Any) -> tuple[Any, list[Fault]]:
    if not isinstance(values, dict):
        return None, _wrong("a mapping of keys to values", values)
    kinds = field_types(cls)
    unknown = [str(key) for key in values if key not in kinds]
    faults = [(key, f"unknown; {hint(key, kinds)}") for key in unknown]
    optional = {
        field.name for field in dataclasses.fields(cls) if default_of(field) is not dataclasses.MISSING
    }
    absent = kinds.keys() - values.keys() - optional - {nearest(key, kinds) for key in unknown}
    faults += [(key, "missing; it has no default") for key in kinds if key in absent]
    valid, inner = _examined_items(kinds, values)
    faults += inner
    faults += _violations(cls, valid)
    return (None if faults else cls(**valid)), faults


def _examined_mapping(key_type: Any, item: Any, values: Any) -> tuple[Any, list[Fault]]:
    if not isinstance(values, dict):
        return None, _wrong("a mapping of keys to values", values)
    wrong = {key: problem for key in values for _, problem in examined(key_type, key)[1]}
    valid, faults = _examined_items({key: item for key in values if key not in wrong}, values)
    return valid, [(str(key), f"as a key, it {problem}") for key, problem in wrong.items()] + faults


def _examined_tuple(kinds: tuple[Any, ...], values: Any) -> tuple[Any, list[Fault]]:
    """A tuple: of any length if its type is tuple[X, ...]."""
    if not isinstance(values, list | tuple):
        return None, _wrong("a list", values)
    if kinds[-1] is ...:
        kinds = kinds[:1] * len(values)
    if len(values) != len(kinds):
        return None, _wrong(f"a list of {len(kinds)}", values)
    valid, faults = _examined_items(dict(enumerate(kinds)), dict(enumerate(values)))
    return tuple(valid.values()), faults


def _examined_items(
    kinds: Mapping[Any, Any], values: Mapping[Any, Any]
) -> tuple[dict[Any, Any], list[Fault]]:
    """The values that are of their kinds, by name, and the faults of the others."""
    valid: dict[Any, Any] = {}
    faults: list[Fault] = []
    for name in [name for name in kinds if name in values]:
        item, inner = examined(kinds[name], values[name])
        faults += [(f"{name}.{key}" if key else str(name), problem) for key, problem in inner]
        if not inner:
            valid[name] = item
    return valid, faults


def _examined_plain(kind: Any, value: Any) -> tuple[Any, list[Fault]]:
    if kind is float and (
        type(value) in (int, float) or (type(value) is str and TEXT_IN_YAML.fullmatch(value))
    ):
        return (float(value), []) if _is_finite(value) else (None, _wrong("a finite number", value))
    if kind is str and type(value) is str and not _is_unicode(value):
        return None, _wrong("text in Unicode", value)
    if kind in (Any, type(value)):
        return value, []
    if kind is Path and type(value) is str:
        return Path(value), []
    return None, _wrong(WORDS.get(kind, kind.__name__), value)


def _is_finite(number: int | float | str) -> bool:
    try:
        return math.isfinite(float(number))
    except OverflowError:  # a whole number beyond any float
        return False


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can encode `text`: not so half of a surrogate pair, which JSON and YAML can escape."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wrong(expected: str, value: Any) -> list[Fault]:
    return [("", f"must be {expected}, not {'null' if value is None else reprlib.repr(value)}")]


def _line(key: str, problem: str) -> str:
    return f"{key or 'the file'}: {problem}"


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
