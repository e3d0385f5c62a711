"""MLflow's client: where its server is, whether it answers, and its errors in one line."""

import contextlib
import functools
import getpass
import logging
import os
import re
import shutil
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from progan.errors import InputError, Unavailable
from progan.files import alone, atomic_file

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
DVC_COPIES = ".dvc/tmp/exps"  # in these folders `dvc exp run --temp` and `--queue` work
PROBE_TIMEOUTS = 5.0, 60.0  # seconds that a server has to accept a connection, and to answer
FULL = "database or disk is full", "No space left on device"  # in the words of SQLite and of the system
ROOM = 4 * 2**20  # bytes; with less on the disk, SQLite fails because it is full
PASSWORD = re.compile("//[^/@ ]*@")  # with the user, in an address


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
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs what it raises
    mlflow.set_tracking_uri(tracking_uri())
    _create_tables(tracking_uri())
    return mlflow.MlflowClient()


@functools.cache
def _create_tables(uri: str) -> None:
    """Have MLflow create the tables of a SQLite file, which appears whole or not at all.

    MLflow fails if two processes create them at once, and cannot use a file that a full disk left unfinished.
    """
    file = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or not file.parent.is_dir():
        return
    if file.exists() and not os.access(file.parent, os.W_OK):
        return  # such as the project of somebody else, which is only looked at
    with alone(file.with_name(f".{file.name}.lock"), f"is preparing {file}"):
        if not file.exists():
            with atomic_file(file) as partial:
                _ask(f"sqlite:///{partial.absolute()}")
        _ask(uri)


def _ask(uri: str) -> None:
    """Ask the server or file at `uri` for anything, which has MLflow create what it lacks."""
    import mlflow

    mlflow_client = mlflow.MlflowClient(uri, uri)
    mlflow_client.search_experiments(max_results=1)
    mlflow_client.search_registered_models(max_results=1)


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
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if _is_full(error):
            raise InputError(
                f"{what}: no space left for {tracking_uri()}; free some and run again"
            ) from error
        if isinstance(error, OSError):
            raise
        why = " ".join(str(error).split())[:300].rstrip(".")
        message = PASSWORD.sub("//", f"{what}: {why}; the registry is {tracking_uri()} (MLFLOW_TRACKING_URI)")
        if _is_temporary(error):
            raise Unavailable(message) from error
        raise InputError(message) from error


def _is_full(error: Exception) -> bool:
    """Whether the cause is a full disk, which SQLite does not always tell from a broken one."""
    no_room = shutil.disk_usage(_project()).free < ROOM
    return any(words in str(error) for words in FULL) or (no_room and "disk I/O error" in str(error))


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
