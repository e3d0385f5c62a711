"""What is in the MLflow registry: champions, candidates and their measures."""

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

from components.evaluate.measures import taken
from progan.errors import InputError, Unavailable

CANDIDATE, CHAMPION, PREVIOUS_CHAMPION = "candidate", "champion", "previous-champion"
WARM_START = "warm_start"  # a version's tag: whose checkpoint its first phase went on from, as JSON
CHECKPOINT = "checkpoint"  # the artifact of a phase's run that is its checkpoint folder
DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
FIRST_ANSWER = 5.0, 60.0  # seconds that a server has to take a connection, and to answer
PASSWORD = re.compile("//[^/@ ]*@")  # in an address


@dataclass(frozen=True)
class Champion:
    """The version that candidates are compared with."""

    version: str
    dataset: str  # digest of the level that it was trained on
    resolution: int
    measures: dict[str, float | None]  # by name; None: no finite number


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file in the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_TRACKING_URI)


def public_address(uri: str) -> str:
    """`uri` without a user or password in it."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.netloc else uri


def who() -> str:
    """Whoever runs this, as the registry's server knows them, else as this machine does."""
    if name := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        return name
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def client() -> Any:
    """An MlflowClient that keeps quiet about its own housekeeping.

    Raises Unavailable within seconds when no server answers at all.
    """
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
    """Ask the server at `uri`, if it is one, whether it is there, once in a process.

    MLflow asks one that is away for four minutes, which is right only for one that was there before.
    """
    import requests

    if not uri.startswith(("http://", "https://")):
        return
    try:
        requests.head(uri, timeout=FIRST_ANSWER, allow_redirects=False)
    except requests.RequestException as error:
        if _may_come_back(error):  # what else is wrong MLflow says itself, when it asks
            why, where = list(_causes(error))[-1], public_address(uri)
            raise Unavailable(
                f"{where}: no MLflow server answers ({why}); start it, or correct MLFLOW_TRACKING_URI"
            ) from error


def _may_come_back(error: Exception) -> bool:
    """Whether the end of it was a server that does not answer, or not for now."""
    from requests.exceptions import ConnectionError, RetryError, SSLError, Timeout

    return any(
        isinstance(cause, ConnectionError | RetryError | Timeout) and not isinstance(cause, SSLError)
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error`, what it was raised for, and so on."""
    yield error
    if before := error.__cause__ or error.__context__:
        yield from _causes(before)


@contextlib.contextmanager
def clear_errors(what: str) -> Iterator[None]:
    """One line for a registry that does not answer any more, says no, or has not what is asked for."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        why = " ".join(str(error).split())[:300].rstrip(".")
        told = PASSWORD.sub("//", f"{what}: {why}; the registry is {tracking_uri()} (MLFLOW_TRACKING_URI)")
        if _may_come_back(error):
            raise Unavailable(told) from error
        raise InputError(told) from error


def phase_runs(mlflow_client: Any, parent: str, key: str | None = None) -> list[Any]:
    """The runs of the phases below the run `parent`, or of the phase `key` alone."""
    below = f"tags.`mlflow.parentRunId` = '{parent}'"
    mine = below if key is None else f"{below} and tags.phase = '{key}'"
    return list(mlflow_client.search_runs([mlflow_client.get_run(parent).info.experiment_id], mine))


def find_champion(model: str) -> Champion | None:
    """The version that is champion, by its tags; None when there is no champion."""
    from mlflow.exceptions import MlflowException

    with clear_errors(model):
        registry = client()
        if not registry.search_registered_models(f"name = '{model}'"):
            return None  # asked for the alias, a server with users would answer that it is forbidden
        try:
            version = registry.get_model_version_by_alias(model, CHAMPION)
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
        {measure.name: measures[measure.name] for measure in taken([measures])},
    )


def _number(text: str) -> float | None:
    """The finite number that a tag holds; None when it holds anything else."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
