"""Photographs to the multi-resolution dataset."""

import re
import shutil
from pathlib import Path

from components.identity import dataset_name
from components.object_store import open_store
from components.object_store.dataset import cache, find_manifest, upload_dataset
from progan.config import Config
from progan.dataset.build import build, deciding_parameters, listed
from progan.dataset.manifest import CHECKS_NAME, Manifest
from progan.dataset.reader import load_manifest
from progan.errors import InputError
from progan.progress import show_progress
from progan.store import FolderStore

SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")


def build_dataset(config: Config, out: Path) -> None:
    """Build the dataset that params.yaml's `dataset` describes into the folder `out`."""
    with show_progress("build-dataset", "images") as advance:
        manifest = build(config.dataset, out, progress=advance, network=config.network)
    sides = " to ".join(dict.fromkeys(map(str, (manifest.resolutions[0], manifest.resolutions[-1]))))
    print(f"{out}: {manifest.images:,} images of {sides} px")
    if manifest.enlarged:
        print(f"enlarged, smaller than {config.dataset.resolution} px: {manifest.enlarged:,}")
    if manifest.skipped:
        print(f"skipped, unusable: {manifest.skipped:,}: {listed(manifest.skipped_items)}")
    if manifest.passed_over:
        names = ", ".join(manifest.passed_over_items[:5]) + (", …" if manifest.passed_over > 5 else "")
        print(f"passed over, not read as photographs: {manifest.passed_over:,}: {names}")
    if doubt := doubtful_classes(manifest):
        print(f"classes: {doubt}; if they are no classes, set dataset.labels")
    if manifest.checks:
        counts = (f"{manifest.checks.get(result, 0):,} {result}" for result in ("exact", "close", "failed"))
        print(f"checks: {', '.join(counts)} ({out / CHECKS_NAME})")


def doubtful_classes(manifest: Manifest) -> str | None:
    """Why the classes may be folders that mean something else; None if nothing speaks for that."""
    names = [count.name for count in manifest.classes]
    splits = [name for name in names if name.lower() in SPLITS]
    if len(splits) > 1:
        return f"{', '.join(splits)} are parts of a data set by their names"
    if names and all(re.fullmatch(r"0\d{4,}", name) for name in names):
        return f"{names[0]} … {names[-1]} are the numbered folders of a data set by their names"
    if names and manifest.images < 2 * len(names):
        return f"{len(names):,} for {manifest.images:,} images"
    return None


def find_or_build(config: Config, uri: str, digest: str) -> str:
    """Build the dataset at `uri` unless it exists; return the digest of its manifest.

    Raises InputError if there is another one: with other parameters, or with another digest than `digest`,
    unless that is empty.
    """
    manifest = find_manifest(uri) or _build_at(config, uri)
    require_parameters(config, manifest, uri)
    if digest not in ("", manifest.digest):
        raise InputError(
            f"{uri}: holds the dataset {manifest.digest[:12]}, not {digest[:12]} as planned; submit again"
        )
    return manifest.digest


def has_parameters(config: Config, manifest: Manifest) -> bool:
    """Whether params.yaml describes the dataset of `manifest`."""
    described = config.dataset.source, deciding_parameters(config.dataset)
    return (manifest.source, manifest.parameters) == described


def require_parameters(config: Config, manifest: Manifest, where: Path | str) -> None:
    """Raise InputError unless params.yaml describes the dataset of `manifest`."""
    if not has_parameters(config, manifest):
        raise InputError(
            f"{where}: built with other parameters than params.yaml's; run dvc repro build-dataset, "
            "or choose another place"
        )


def _build_at(config: Config, uri: str) -> Manifest:
    """Build in the folder `uri`, or, for an object store, in the user's cache and upload from there."""
    store = open_store(uri)
    if isinstance(store, FolderStore):
        build_dataset(config, store.root)
        return load_manifest(store.root)
    scratch = cache() / f"build-{dataset_name(config, '')}"
    build_dataset(config, scratch)
    upload_dataset(scratch, uri)
    manifest = load_manifest(scratch)
    shutil.rmtree(scratch)
    return manifest
