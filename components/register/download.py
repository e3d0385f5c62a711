"""Generators of registered versions, each downloaded once into the user's cache."""

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import platformdirs

from components.tracking.client import clear_errors, client, is_missing, tracking_uri
from components.tracking.runs import CHECKPOINT, phase_runs
from progan.checkpoints import FACTS, NETWORKS
from progan.errors import InputError
from progan.files import alone, atomic_folder, digest_of, disk_errors

URI = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


def fetch_generator(uri: str) -> Path:
    """A checkpoint folder with the averaged generator only, of models:/NAME@alias or models:/NAME/3."""
    with in_registry(uri):
        version = version_at(uri)
        key = f"{version.name}-{version.version}-{digest_of(version.source)[:16]}"
        return _fetched(key, uri, f"models:/{version.name}/{version.version}/artifacts")


def fetch_phases(uri: str) -> list[Path]:
    """The checkpoint folders, without optimizers, of the phases of the version's run."""
    with in_registry(uri):
        mlflow_client = client()
        ids_by_phase = {
            run.data.tags["phase"]: run.info.run_id
            for run in phase_runs(mlflow_client, version_at(uri).run_id)
            if run.info.status == "FINISHED" and mlflow_client.list_artifacts(run.info.run_id, CHECKPOINT)
        }
        if not ids_by_phase:
            raise InputError(f"{uri}: its run has no checkpoints of its phases; pass their folder instead")
        return [
            _fetched(run, f"{uri}, {phase}", f"runs:/{run}/{CHECKPOINT}")
            for phase, run in ids_by_phase.items()
        ]


def version_at(uri: str) -> Any:
    """The version at `uri`."""
    parsed = URI.fullmatch(uri)
    if parsed is None:
        raise InputError(f"{uri}: expected models:/NAME@alias or models:/NAME/3")
    if parsed["alias"]:
        return client().get_model_version_by_alias(parsed["name"], parsed["alias"])
    return client().get_model_version(parsed["name"], parsed["version"])


def _fetched(key: str, what: str, source: str) -> Path:
    """The folder `key` of the cache, with the checkpoint at `source`. what: for the messages."""
    folder = platformdirs.user_cache_path("progan") / "registry" / key
    if folder.exists():
        return folder
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder.with_name(f".{folder.name}.lock"), f"is fetching {what}"):
        if not folder.exists():
            print(f"{what}: fetching it into {folder}", file=sys.stderr, flush=True)
            with atomic_folder(folder) as partial:
                for name in (FACTS, NETWORKS):
                    _download(f"{source}/{name}", partial / name)
    return folder


def _download(source: str, file: Path) -> None:
    """Download an artifact to `file`; MLflow itself may put it below folders of its own."""
    from mlflow.artifacts import download_artifacts

    with TemporaryDirectory(dir=file.parent) as folder:
        Path(download_artifacts(source, dst_path=folder)).replace(file)


@contextlib.contextmanager
def in_registry(uri: str) -> Iterator[None]:
    """`clear_errors`, and an InputError if the registry is a missing file, which MLflow would create."""
    if is_missing():
        raise InputError(
            f"{uri}: no registry at {tracking_uri()}; set MLFLOW_TRACKING_URI, or run in its folder"
        )
    with clear_errors(uri):
        yield
