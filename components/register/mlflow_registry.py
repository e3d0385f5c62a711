"""Access to the MLflow registry: its client, its errors, the runs of phases and the champion."""

import contextlib
import functools
import getpass
import logging
import math
import os
import re
import socket
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from components.evaluate.measures import measures_in
from progan.errors import InputError, Unavailable

CANDIDATE, CHAMPION, PREVIOUS_CHAMPION = "candidate", "champion", "previous-champion"
WARM_START = "warm_start"  # tag of a version: the warm start of its first phase, as JSON
CHECKPOINT = "checkpoint"  # artifact of a phase's run: its checkpoint folder
DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
PROBE_TIMEOUTS = 5.0, 60.0  # seconds that a server has to accept a connection, and to answer
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
    return os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_TRACKING_URI)


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
    return mlflow.MlflowClient()


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


def phase_runs(mlflow_client: Any, parent: str, key: str | None = None) -> list[Any]:
    """The child runs of `parent`, one for each phase; with `key`, of that phase only."""
    query = f"tags.`mlflow.parentRunId` = '{parent}'"
    if key is not None:
        query += f" and tags.phase = '{key}'"
    return list(mlflow_client.search_runs([mlflow_client.get_run(parent).info.experiment_id], query))


def find_champion(model: str) -> Champion | None:
    """The champion of `model`, read from its version's tags; None if there is none."""
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
    measures = {name: _number(text) for name, text in tags.items()}
    return Champion(
        str(version.version),
        tags.get("dataset", ""),
        round(measures.get("resolution") or 0),
        {measure.name: measures[measure.name] for measure in measures_in([measures])},
    )


def _number(text: str) -> float | None:
    """The finite number in a tag; None if the tag holds anything else."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
