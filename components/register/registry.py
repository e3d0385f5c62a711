"""The versions of a model in the MLflow registry, and the champion among them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.evaluate.measures import measures_in
from components.tracking.client import clear_errors, client, is_missing

CANDIDATE, CHAMPION, PREVIOUS_CHAMPION = "candidate", "champion", "previous-champion"
WARM_START = "warm_start"  # tag of a version: the warm start of its first phase, as JSON
TRAINING = "training"  # tag of a version: what its training took, a Total, as JSON


@dataclass(frozen=True)
class Champion:
    """The version that candidates are compared with."""

    version: str
    dataset: str  # digest of the level it was trained on
    resolution: int
    measures: dict[str, float | None]  # by name; None: not finite


def find_version(mlflow_client: Any, model: str, identity: str) -> Any:
    """The oldest version of `model` whose last phase has this identity; None if there is none."""
    query = f"name = '{model}' and tag.identity = '{identity}'"
    return next(iter(mlflow_client.search_model_versions(query, order_by=["version_number ASC"])), None)


def find_champion(model: str) -> Champion | None:
    """The champion of `model`, read from its version's tags; None if there is none."""
    if is_missing():
        return None
    from mlflow.exceptions import MlflowException

    with clear_errors(model):
        mlflow_client = client()
        if not mlflow_client.search_registered_models(f"name = '{model}'"):
            return None  # a server with users would forbid the question for the alias
        try:
            version = mlflow_client.get_model_version_by_alias(model, CHAMPION)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
    tags: dict[str, str] = version.tags
    measures = numbers_in(tags)
    return Champion(
        str(version.version),
        tags.get("dataset", ""),
        round(measures.get("resolution") or 0),
        {measure.name: measures[measure.name] for measure in measures_in([measures])},
    )


def numbers_in(tags: Mapping[str, str]) -> dict[str, float | None]:
    """The tags as numbers, such as the measures among them; None for anything else."""
    return {name: _number(text) for name, text in tags.items()}


def _number(text: str) -> float | None:
    """The finite number in a tag; None if the tag holds anything else."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
