"""Presets: whole parameter files by name, each written as its differences from another.

A file in presets/ maps names to sections of params.yaml. `extends` names the preset that provides the keys
which are not given, `schedule` describes the phases, and a preset without `about` only serves to be extended.
"""

from dataclasses import fields
from functools import cache
from importlib import resources
from typing import Any

import yaml

from progan.config import Config
from progan.errors import InputError, hint
from progan.resolutions import phase_key, resolutions_between


def listed() -> dict[str, str]:
    """The descriptions of the presets, by name."""
    return {name: preset["about"] for name, preset in _all().items() if "about" in preset}


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
    """The preset as a params.yaml, with one line per phase."""
    sections = params(name)
    lines = [f"# Preset {name}: {listed()[name]}.", "# What every parameter means: docs/params.md."]
    for section, values in sections.items():
        lines += ["", *_section_lines(section, values)]
    return "\n".join(lines) + "\n"


def _section_lines(section: str, values: dict[str, Any]) -> list[str]:
    if not values:
        return [f"{section}: {{}}"]
    return [f"{section}:", *(f"  {key}: {_flow(value)}" for key, value in values.items())]


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
    return base | {section: base.get(section, {}) | values for section, values in preset.items()}


@cache
def _all() -> dict[str, dict[str, Any]]:
    files = sorted(path.name for path in resources.files("presets").iterdir() if path.name.endswith(".yaml"))
    texts = [resources.files("presets").joinpath(file).read_text(encoding="utf-8") for file in files]
    return {name: preset for text in texts for name, preset in yaml.safe_load(text).items()}
