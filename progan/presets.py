"""Presets: whole parameter files by name, each written as its differences from another.

A file in presets/ maps names to sections of params.yaml. `extends` names the preset that provides the keys
which are not given, `schedule` describes the phases, and a preset without `about` only serves to be extended.
"""

import inspect
import textwrap
import typing
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from progan.config import Config
from progan.errors import InputError, hint
from progan.resolutions import phase_key, resolutions_between
from progan.validation import field_types, variants_of

GROUPS = {  # the files in presets/, as they are listed, and their titles
    "quick": "A first look",
    "architectures": "Other architectures, and the same toy faces by each",
    "celebahq": "CelebA-HQ, the authors' settings",
    "cifar10": "CIFAR-10 (table 3)",
    "lsun": "LSUN at 256 px",
    "table1": "Table 1, row by row",
    "mnist": "MNIST-1K (appendix D)",
}
BASE = "paper"  # the file of what the others extend
WIDTH = 108  # of a parameter with its comment, without indentation


def listed() -> dict[str, str]:
    """The descriptions of the presets, by name."""
    return {name: about for group in grouped().values() for name, about in group.items()}


def grouped() -> dict[str, dict[str, str]]:
    """The descriptions of the presets, by the title of their group and by name."""
    return {
        title: {name: preset["about"] for name, preset in _file(file).items() if "about" in preset}
        for file, title in GROUPS.items()
    }


def params(name: str) -> dict[str, Any]:
    """The contents of params.yaml for the preset `name`; InputError if there is none."""
    if name not in listed():
        raise InputError(f"{name}: no such preset; {hint(name, listed(), 'see progan presets list')}")
    sections = _inherited(name)
    schedule = sections.pop("schedule")
    sections["phases"] = phases(**schedule)
    sections["register"] = {"model": name}
    return {section.name: sections[section.name] for section in fields(Config) if section.name in sections}


def phases(
    first: int,
    last: int,
    fade_kimg: float,
    stable_kimg: float,
    total_kimg: float,
    minibatch: dict[int, int],
    learning_rate: dict[int, float],
) -> dict[str, Any]:
    """The phases from resolution `first` to `last`; the last one trains until all have `total_kimg` together.

    minibatch, learning_rate: each value applies from its resolution on.
    """
    result, shown = {}, 0.0
    for resolution in resolutions_between(first, last):
        is_first, is_last = resolution == first, resolution == last
        fade = 0 if is_first else fade_kimg
        stable = total_kimg - shown - fade if is_last else stable_kimg
        shown += fade + stable
        key, before = phase_key(resolution), phase_key(resolution // 2)
        result[key] = {
            "resolution": resolution,
            "init": f"data/multires/{key}" if is_first else f"checkpoints/{before}",
            "fade_kimg": fade,
            "stable_kimg": int(stable) if stable == int(stable) else round(stable, 6),
            "minibatch": _step(minibatch, resolution),
            "learning_rate": _step(learning_rate, resolution),
        }
    return result


def to_yaml(name: str) -> str:
    """The preset as a params.yaml: each parameter with its meaning, one line per phase."""
    sections, kinds = params(name), field_types(Config)
    lines = [f"# Preset {name}: {listed()[name]}.", "# Sections named in quotes are in docs/params.md."]
    for section, values in sections.items():
        lines += ["", *_section_lines(section, values, kinds[section])]
    return "\n".join(lines) + "\n"


def _section_lines(section: str, values: dict[str, Any], kind: Any) -> list[str]:
    """kind: the class of the section; or the type of a mapping to such, whose items have a line each."""
    kind = kind.__origin__ if typing.get_origin(kind) is typing.Annotated else kind
    if variants := variants_of(kind):
        kind = variants[values[kind.TAG]]
    meanings = field_types(kind) if is_dataclass(kind) else {}
    about = inspect.getdoc(kind if is_dataclass(kind) else typing.get_args(kind)[1]) or ""
    head = _comment(about.partition("\n\n")[0])
    if not values:
        return [*head, f"{section}: {{}}"]
    lines = [line for key, value in values.items() for line in _lines(key, value, meanings.get(key))]
    return [*head, f"{section}:", *(f"  {line}" for line in lines)]


def _lines(key: str, value: Any, annotation: Any) -> list[str]:
    """A parameter with what progan/config.py says of it, behind it or, if that is long, above it."""
    line = f"{key}: {_flow(value)}"
    for meaning in filter(lambda note: isinstance(note, str), getattr(annotation, "__metadata__", ())):
        beside = f"{line} # {meaning}"
        return [beside] if len(beside) <= WIDTH else [*_comment(meaning), line]
    return [line]


def _comment(text: str) -> list[str]:
    """`text` as lines of a comment."""
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("...\n").strip()


def _step(values: dict[int, Any], resolution: int) -> Any:
    return values[max(start for start in values if start <= resolution)]


def _inherited(name: str) -> dict[str, Any]:
    """The sections of a preset with what it extends filled in, key by key."""
    preset = dict(_all()[name])
    preset.pop("about", None)
    base = _inherited(preset.pop("extends")) if "extends" in preset else {}
    return base | {
        section: _applicable(section, base.get(section, {}) | preset[section]) for section in preset
    }


def _applicable(section: str, values: dict[str, Any]) -> dict[str, Any]:
    """`values` without those of another variant of the section, such as those of another architecture."""
    kind: Any = field_types(Config).get(section)
    if not (variants := variants_of(kind)):
        return values
    applicable = field_types(variants[values[kind.TAG]])
    return {key: value for key, value in values.items() if key in applicable}


def _all() -> dict[str, dict[str, Any]]:
    return {name: preset for file in (BASE, *GROUPS) for name, preset in _file(file).items()}


@cache
def _file(name: str) -> dict[str, dict[str, Any]]:
    return yaml.safe_load(resources.files("presets").joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
