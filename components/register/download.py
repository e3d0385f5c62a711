"""Generators out of the registry, each fetched once into the user's cache."""

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import platformdirs

from components.register.registry import CHECKPOINT, clear_errors, client, phase_runs, tracking_uri
from progan.checkpoints import FACTS, NETWORKS
from progan.errors import InputError
from progan.files import alone, atomic_folder, digest_of, disk_errors

URI = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


def fetch_generator(uri: str) -> Path:
    """The checkpoint folder, the averaged generator alone in it, of models:/NAME@alias or models:/NAME/3."""
    with _in_registry(uri):
        version = _version(uri)
        source = f"models:/{version.name}/{version.version}/artifacts"

        def fetch(folder: Path) -> None:
            for name in (FACTS, NETWORKS):
                _download(folder / name, artifact_uri=f"{source}/{name}")

        return _fetched(f"{version.name}-{version.version}-{digest_of(version.source)[:16]}", uri, fetch)


def fetch_phases(uri: str) -> list[Path]:
    """The checkpoint folders, without their optimisers, that the phases of the version's run kept."""
    with _in_registry(uri):
        mlflow_client = client()
        kept = [
            run
            for run in phase_runs(mlflow_client, _version(uri).run_id)
            if run.info.status == "FINISHED" and mlflow_client.list_artifacts(run.info.run_id, CHECKPOINT)
        ]
        if not kept:
            raise InputError(f"{uri}: its run kept no checkpoints of its phases; name their folder instead")
        return [_fetch_checkpoint(run, uri) for run in kept]


def _fetch_checkpoint(run: Any, uri: str) -> Path:
    def fetch(folder: Path) -> None:
        for name in (FACTS, NETWORKS):
            artifact = f"{CHECKPOINT}/{name}"
            _download(folder / name, run_id=run.info.run_id, artifact_path=artifact)

    what = f"{uri}, {run.data.tags.get('phase', run.info.run_name)}"
    return _fetched(run.info.run_id, what, fetch)


def _version(uri: str) -> Any:
    """The version that `uri` names."""
    parsed = URI.fullmatch(uri)
    if parsed is None:
        raise InputError(f"{uri}: expected models:/NAME@alias or models:/NAME/3")
    if parsed["alias"]:
        return client().get_model_version_by_alias(parsed["name"], parsed["alias"])
    return client().get_model_version(parsed["name"], parsed["version"])


def _fetched(key: str, what: str, fetch: Callable[[Path], None]) -> Path:
    """The folder of the cache that `fetch` has filled, now or before."""
    folder = platformdirs.user_cache_path("progan") / "registry" / key
    if folder.exists():
        return folder
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder.with_name(f".{folder.name}.lock"), f"is fetching {what}"):
        if not folder.exists():  # the other process may have brought it
            print(f"{what}: fetching it into {folder}", file=sys.stderr, flush=True)
            with atomic_folder(folder) as beside:
                fetch(beside)
    return folder


def _download(file: Path, **where: str) -> None:
    """Fetch an artifact, which MLflow may put below folders of its own, to `file`."""
    from mlflow.artifacts import download_artifacts

    with TemporaryDirectory(dir=file.parent) as folder:
        Path(download_artifacts(dst_path=folder, **where)).replace(file)


@contextlib.contextmanager
def _in_registry(uri: str) -> Iterator[None]:
    """`clear_errors`; and one line for a registry in a file that is not there, for MLflow would make one."""
    place = tracking_uri()
    if place.startswith("sqlite:///") and not Path(place.removeprefix("sqlite:///")).exists():
        raise InputError(f"{uri}: no registry at {place}; set MLFLOW_TRACKING_URI, or run where it is")
    with clear_errors(uri):
        yield
