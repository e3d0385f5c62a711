"""Change parameters so that training starts from a registered checkpoint."""

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

from progan.config import Config
from progan.errors import InputError
from progan.files import atomic_file


def start_from_champion(values: Any, config: Config, key: str) -> Any:
    """The contents of params.yaml, changed to start after phase `key` from the champion's checkpoint.

    values: the present contents. config: the same, checked. Raises InputError if no phase follows, or if the
    champion has other networks.
    """
    from components.warm_start.registered import of_champion

    later = [phase for phase in config.phases if phase > key]
    if not later or key not in [*config.phases, *config.warm_start]:
        *choices, last = [*config.warm_start, *config.phases]
        remedy = f"give one of {', '.join(choices)}" if choices else f"{last} is the only one"
        raise InputError(f"{key}: no phase of params.yaml comes after it; {remedy}")
    changed = copy.deepcopy(values)
    changed["warm_start"] = {key: asdict(of_champion(config, key))}
    for earlier in config.phases.keys() - later:
        del changed["phases"][earlier]
    if config.gate.stop_after not in later[:-1]:
        changed["gate"]["stop_after"] = None
    return changed


def write(values: Any, params: Path) -> None:
    """Write the changes of `start_from_champion` to the file `params`, and keep its comments."""
    from ruamel.yaml import YAML

    editor = YAML()
    editor.width = 1000
    editor.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    content = editor.load(params)
    content["warm_start"].clear()
    content["warm_start"].update(values["warm_start"])
    content["warm_start"].fa.set_flow_style()  # on one line, before its comment
    content["gate"]["stop_after"] = values["gate"]["stop_after"]
    for earlier in content["phases"].keys() - values["phases"].keys():
        del content["phases"][earlier]
    with atomic_file(params) as partial:
        editor.dump(content, partial)
