"""The measures of an evaluation, for whoever reads them; free of torch, which takes seconds to import."""

from collections.abc import Mapping
from typing import Any


def flat_measures(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation with its nested measures flattened: {"swd": {"16": x}} → {"swd_16": x}."""
    flat: dict[str, Any] = {}
    for name, value in evaluation.items():
        flat |= (
            {f"{name}_{key}": item for key, item in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    return flat
