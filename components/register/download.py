"""Generators of registered versions, each downloaded once into the user's cache."""

import contextlib
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import platformdirs

from components.signatures.trust import TrustedSigners, trusted_signers
from components.signatures.verifying import Verified, verify
from components.tracking.artifacts import ARTIFACTS, download, names_in
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
        source, expected = _served(version)
        return _fetched(key, uri, source, **expected)


def verify_version(version: Any, trusted: TrustedSigners) -> Verified:
    """The signature of a registered version as it is now; InputError unless one of `trusted` made it."""
    with TemporaryDirectory() as folder:
        source, expected = _served(version)
        files = download(source, Path(folder) / ARTIFACTS)
        return verify(files, f"{version.name} version {version.version}", trusted, **expected)


def fetch_phases(uri: str) -> list[Path]:
    """The checkpoint folders of the phases of the version's run; they may lack optimizers."""
    with in_registry(uri):
        mlflow_client, version = client(), version_at(uri)
        ids_by_phase = {
            run.data.tags["phase"]: run.info.run_id
            for run in phase_runs(mlflow_client, version.run_id)
            if run.info.status == "FINISHED" and mlflow_client.list_artifacts(run.info.run_id, CHECKPOINT)
        }
        if not ids_by_phase:
            raise InputError(f"{uri}: its run has no checkpoints of its phases; pass their folder instead")
        return [
            _fetched(run, f"{uri}, {phase}", f"runs:/{run}/{CHECKPOINT}", model=version.name, phase=phase)
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


def _served(version: Any) -> tuple[str, dict[str, str]]:
    """The address of a version's generator, and what its signature must be about."""
    name, number = version.name, str(version.version)
    return f"models:/{name}/{number}/{ARTIFACTS}", {"model": name, "version": number}


def _fetched(key: str, what: str, source: str, **expected: str) -> Path:
    """The folder `key` of the cache, with the checkpoint at `source`; verified if a signature is required.

    what: for the messages. expected: what the signature must be about.
    """
    trusted = trusted_signers()
    if trusted is None:
        return _cached(key, what, source, (FACTS, NETWORKS))
    folder = _cached(f"{key}-signed", what, source, names_in(source))
    try:
        signature = verify(folder, what, trusted, **expected)
    except InputError:  # the registry's may be put right
        shutil.rmtree(folder)
        raise
    print(f"{what}: signed by {signature.by}", file=sys.stderr)
    return folder


def _cached(key: str, what: str, source: str, names: Sequence[str]) -> Path:
    """The folder `key` of the cache, with the files of these names at `source`."""
    folder = platformdirs.user_cache_path("progan") / "registry" / key
    if folder.exists():
        return folder
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder.with_name(f".{folder.name}.lock"), f"is fetching {what}"):
        if not folder.exists():
            print(f"{what}: fetching it into {folder}", file=sys.stderr, flush=True)
            with atomic_folder(folder) as partial:
                for name in names:
                    download(f"{source}/{name}", partial / name)
    return folder


@contextlib.contextmanager
def in_registry(uri: str) -> Iterator[None]:
    """`clear_errors`, and an InputError if the registry is a missing file, which MLflow would create."""
    if is_missing():
        raise InputError(
            f"{uri}: no registry at {tracking_uri()}; set MLFLOW_TRACKING_URI, or run in its folder"
        )
    with clear_errors(uri):
        yield
