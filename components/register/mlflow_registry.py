"""Access to the MLflow registry: its client, its errors, the runs of phases and the champion."""

import contextlib
import functools
import getpass
import logging
import math
import os
import re
import socket
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from components.evaluate.measures import measures_in
from progan.errors import InputError, Unavailable
from progan.files import alone

CANDIDATE, CHAMPION, PREVIOUS_CHAMPION = "candidate", "champion", "previous-champion"
WARM_START = "warm_start"  # tag of a version: the warm start of its first phase, as JSON
TRAINING = "training"  # tag of a version: what its training took, a Total, as JSON
PARENT, PHASE = "mlflow.parentRunId", "phase"  # tags of a phase's run: its parent's id, its phase's key
CHECKPOINT = "checkpoint"  # artifact of a phase's run: its checkpoint folder
DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
DVC_COPIES = ".dvc/tmp/exps"  # in these folders `dvc exp run --temp` and `--queue` work
PROBE_TIMEOUTS = 5.0, 60.0  # seconds that a server has to accept a connection, and to answer
GIVE_WAY_SECONDS = 3.0  # until another process has seen a run that this one has created
PASSWORD = re.compile("//[^/@ ]*@")  # with the user, in an address


@dataclass(frozen=True)
class Champion:
    """The version that candidates are compared with."""

    version: str
    dataset: str  # digest of the level it was trained on
    resolution: int
    measures: dict[str, float | None]  # by name; None: not finite


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file in the project's root."""
    root = _project()
    default = DEFAULT_TRACKING_URI if root == Path.cwd() else f"sqlite:///{root / 'mlflow.db'}"
    return os.environ.get("MLFLOW_TRACKING_URI") or default


def _project() -> Path:
    """The project's folder; not DVC's copy of it for an experiment, which DVC deletes at its end."""
    here = Path.cwd()
    return next((folder for folder in here.parents if (folder / DVC_COPIES) in here.parents), here)


def is_missing() -> bool:
    """Whether the registry is a SQLite file that does not exist; MLflow would create it."""
    address = tracking_uri()
    return address.startswith("sqlite:///") and not Path(address.removeprefix("sqlite:///")).exists()


def public_address(uri: str) -> str:
    """`uri` without user and password."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.netloc else uri


def current_user() -> str:
    """The name of the user on the registry's server, or else user@host."""
    if name := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        return name
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def client() -> Any:
    """An MlflowClient without log lines and warnings; Unavailable if the server does not answer."""
    _require_answer(tracking_uri())
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow

    warnings.filterwarnings("ignore", module="mlflow|sqlalchemy|alembic")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(tracking_uri())
    _create_tables(tracking_uri())
    return mlflow.MlflowClient()


@functools.cache
def _create_tables(uri: str) -> None:
    """Have MLflow create the tables of a SQLite file; it fails if two processes do so at once."""
    import mlflow

    file = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and file.parent.is_dir():
        with alone(file.with_name(f".{file.name}.lock"), f"is preparing {file}"):
            mlflow.MlflowClient().search_experiments(max_results=1)
            mlflow.MlflowClient().search_registered_models(max_results=1)


@functools.cache
def _require_answer(uri: str) -> None:
    """Raise Unavailable if `uri` is a server and does not answer. Asked once per process.

    MLflow itself retries for four minutes, which makes sense only for a server that has answered before.
    """
    import requests

    if not uri.startswith(("http://", "https://")):
        return
    try:
        requests.head(uri, timeout=PROBE_TIMEOUTS, allow_redirects=False)
    except requests.RequestException as error:
        if _is_temporary(error):  # MLflow reports all other errors itself, at its first request
            cause, address = list(_causes(error))[-1], public_address(uri)
            raise Unavailable(
                f"{address}: no MLflow server answers ({cause}); start it, or correct MLFLOW_TRACKING_URI"
            ) from error


def _is_temporary(error: Exception) -> bool:
    """Whether the cause is a server that does not answer at the moment."""
    from requests.exceptions import ConnectionError, RetryError, SSLError, Timeout

    return any(
        isinstance(cause, ConnectionError | RetryError | Timeout) and not isinstance(cause, SSLError)
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error`, its cause, the cause of that, and so on."""
    yield error
    if cause := error.__cause__ or error.__context__:
        yield from _causes(cause)


@contextlib.contextmanager
def clear_errors(what: str) -> Iterator[None]:
    """Turn errors of MLflow and its database into errors of one line, which begins with `what`."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        why = " ".join(str(error).split())[:300].rstrip(".")
        message = PASSWORD.sub("//", f"{what}: {why}; the registry is {tracking_uri()} (MLFLOW_TRACKING_URI)")
        if _is_temporary(error):
            raise Unavailable(message) from error
        raise InputError(message) from error


def experiment_of(mlflow_client: Any, model: str) -> str:
    """The id of the experiment with the runs of `model`, which is created if it does not exist."""
    from mlflow.exceptions import MlflowException

    experiment, root = mlflow_client.get_experiment_by_name(model), _project()
    if experiment is None:
        in_copy = root != Path.cwd() and tracking_uri().startswith("sqlite:")
        location = (root / "mlruns" / model).as_uri() if in_copy else None
        try:
            return mlflow_client.create_experiment(model, location)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = mlflow_client.get_experiment_by_name(model)  # another process was faster
    if experiment.lifecycle_stage != "active":
        raise InputError(
            f"{model}: the experiment of this name in MLflow is deleted; set register.model to another name, "
            f"or restore it: mlflow experiments restore --experiment-id {experiment.experiment_id}"
        )
    location = urlsplit(experiment.artifact_location)
    moved = location.scheme in ("", "file") and not Path(unquote(location.path)).is_relative_to(root)
    if moved and tracking_uri() == DEFAULT_TRACKING_URI:
        raise InputError(
            f"mlflow.db: was moved or copied here, and would write runs into {location.path}; "
            "delete it to begin a new registry, or see docs/registry.md"
        )
    return experiment.experiment_id


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
    query = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in key.items())

    def search() -> list[Any]:
        return sorted(mlflow_client.search_runs([experiment], query), key=lambda run: run.info.run_id)

    if runs := search():
        return runs[0]
    own = mlflow_client.create_run(experiment, began, key | tags, name)
    runs = search()
    if len(runs) > 1 and runs[0].info.run_id == own.info.run_id:
        time.sleep(GIVE_WAY_SECONDS)
        runs = search()
    others = [run for run in runs if run.info.run_id != own.info.run_id]
    if not others:
        return own
    mlflow_client.delete_run(own.info.run_id)
    return others[0]


def phase_runs(mlflow_client: Any, parent: str, key: str | None = None) -> list[Any]:
    """The child runs of `parent`, one for each phase; with `key`, of that phase only."""
    experiment = mlflow_client.get_run(parent).info.experiment_id
    runs = mlflow_client.search_runs([experiment], f"tags.`{PARENT}` = '{parent}'")
    return [run for run in runs if key in (None, run.data.tags.get(PHASE))]


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
