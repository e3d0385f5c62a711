"""The MLflow runs of a training run: a parent for the whole run, and a child for each phase.

A child is known by the identity of its task, a parent by that of its last phase once it is registered. While
a run trains, each phase joins the parent of the phase whose checkpoint it began with.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from PIL.Image import Image

from components.tracking.client import current_user
from components.tracking.metrics import milliseconds
from progan.files import canonical_json
from progan.history import Total

PARENT, PHASE, TASK = "mlflow.parentRunId", "phase", "identity"  # tags of a child: parent, key, identity
REGISTERED = "progan.identity"  # tag of a parent that is registered: the identity of its last phase
STATE = "state"  # tag of both: how far training is
CHECKPOINT = "checkpoint"  # artifact of a child: the phase's checkpoint folder
PICTURE_KEY = "curves/same latents"  # images during training; the page shows them with a slider
METRICS_PER_REQUEST, PARAMS_PER_REQUEST = 500, 100
GIVE_WAY_SECONDS = 3.0  # until another process has seen a run that this one has created


def find_runs(mlflow_client: Any, experiment: str, tags: Mapping[str, str]) -> list[Any]:
    """The runs with all these tags, ordered by id."""
    query = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in tags.items())
    return sorted(mlflow_client.search_runs([experiment], query), key=lambda run: run.info.run_id)


def find_or_create_run(
    mlflow_client: Any,
    experiment: str,
    key: dict[str, str],
    name: str,
    tags: dict[str, str],
    began: int | None = None,
) -> Any:
    """The run that the tags `key` identify; if there is none, it is created, with `tags` too.

    Another process may create one before it sees this one. Then one of the two gives way: the one with the
    larger id, or else the one that has seen the other.
    """
    if runs := find_runs(mlflow_client, experiment, key):
        return runs[0]
    own = mlflow_client.create_run(experiment, began, key | tags, name)
    runs = find_runs(mlflow_client, experiment, key)
    if len(runs) > 1 and runs[0].info.run_id == own.info.run_id:
        time.sleep(GIVE_WAY_SECONDS)
        runs = find_runs(mlflow_client, experiment, key)
    others = [run for run in runs if run.info.run_id != own.info.run_id]
    if not others:
        return own
    mlflow_client.delete_run(own.info.run_id)
    return others[0]


def find_or_create_child(
    mlflow_client: Any, parent: Any, key: str, identity: str, began: float | None
) -> Any:
    """The child of the run `parent` for the phase `key`. began: seconds since 1970."""
    return find_or_create_run(
        mlflow_client,
        parent.info.experiment_id,
        {PARENT: parent.info.run_id, PHASE: key},
        key,
        {TASK: identity, **origin()},
        milliseconds(began),
    )


def unregistered_parents(mlflow_client: Any, experiment: str, identity: str) -> list[Any]:
    """The parents, not registered yet, of the phase with this identity."""
    children = find_runs(mlflow_client, experiment, {TASK: identity})
    parents = [mlflow_client.get_run(child.data.tags[PARENT]) for child in children]
    return [
        parent
        for parent in parents
        if parent.info.lifecycle_stage == "active" and REGISTERED not in parent.data.tags
    ]


def phase_runs(mlflow_client: Any, parent: str, key: str | None = None) -> list[Any]:
    """The child runs of `parent`, one for each phase; with `key`, of that phase only."""
    experiment = mlflow_client.get_run(parent).info.experiment_id
    runs = find_runs(mlflow_client, experiment, {PARENT: parent})
    return [run for run in runs if key in (None, run.data.tags.get(PHASE))]


def origin() -> dict[str, str]:
    """The source and the user that MLflow's pages show."""
    return {"mlflow.source.name": "progan", "mlflow.user": current_user()}


def terminate(mlflow_client: Any, run: Any, training: Total) -> None:
    """End a run, after the training's own duration, without interruptions."""
    if run.info.status != "FINISHED":
        ended = run.info.start_time + round(1000 * training.seconds)
        mlflow_client.set_terminated(run.info.run_id, end_time=ended)


# ------------------------------------------------------------------------------------------------
# Contents


def set_tags(mlflow_client: Any, run: str, tags: dict[str, str], description: str | None = None) -> None:
    """Set tags of a run and, if it is given, its description (Markdown)."""
    from mlflow.entities import RunTag
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    described = tags if description is None else tags | {MLFLOW_RUN_NOTE: description}
    mlflow_client.log_batch(run, tags=[RunTag(name, value) for name, value in described.items()])


def log_metrics(mlflow_client: Any, run: str, metrics: list[Any]) -> None:
    """MLflow itself ignores those that exist with the same time and step."""
    for first in range(0, len(metrics), METRICS_PER_REQUEST):
        mlflow_client.log_batch(run, metrics=metrics[first : first + METRICS_PER_REQUEST])


def log_params(mlflow_client: Any, run: Any, values: Mapping[str, Any]) -> None:
    """Log the parameters that the run does not have yet, by dotted names; MLflow does not allow changes."""
    from mlflow.entities import Param

    texts = dict(flat(values))
    missing = [Param(name, texts[name]) for name in texts.keys() - run.data.params.keys()]
    for first in range(0, len(missing), PARAMS_PER_REQUEST):
        mlflow_client.log_batch(run.info.run_id, params=missing[first : first + PARAMS_PER_REQUEST])


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and texts of nested values, as params.yaml has them."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else canonical_json(value)


def log_picture(mlflow_client: Any, run: str, picture: Image, step: int) -> None:
    """Log the images of the same latents after `step` images of the phase, unless they are there."""
    logged = " ".join(artifact.path for artifact in mlflow_client.list_artifacts(run, "images"))
    if f"+step+{step}+" not in logged:
        mlflow_client.log_image(run, picture, key=PICTURE_KEY, step=step)
