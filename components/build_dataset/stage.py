"""Photographs to the multi-resolution dataset."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from progan.config import Config
from progan.dataset.build import build, deciding_parameters
from progan.dataset.manifest import CHECKS_NAME, MANIFEST_NAME
from progan.dataset.reader import load_manifest
from progan.errors import InputError
from progan.progress import show_progress


def build_dataset(config: Config, out: Path, verify: Literal["strict", "report"] | None = None) -> None:
    """Build the dataset that params.yaml's `dataset` describes into the folder `out`.

    verify: in place of `dataset.verify`.
    """
    dataset = replace(config.dataset, verify=verify or config.dataset.verify)
    with show_progress("build-dataset", "images") as advance:
        manifest = build(dataset, out, progress=advance)
    print(f"{out}: {manifest.images:,} images at {len(manifest.resolutions)} resolutions")
    if manifest.checks:
        sums = (f"{manifest.checks.get(result, 0):,} {result}" for result in ("exact", "close", "failed"))
        print(f"checks: {', '.join(sums)} ({out / CHECKS_NAME})")


def find_or_build(config: Config, folder: Path, digest: str) -> str:
    """Build the dataset in `folder` unless it is there; the digest of its manifest.

    Raises InputError when another one is there: of other parameters, or not of `digest` where one is given.
    """
    if not (folder / MANIFEST_NAME).exists():
        build_dataset(config, folder)
    found = matching_digest(config, folder)
    if digest not in ("", found):
        raise InputError(f"{folder}: holds the dataset {found[:12]}, not {digest[:12]} as planned")
    return found


def matching_digest(config: Config, folder: Path) -> str:
    """The digest of the dataset in `folder`; InputError when params.yaml describes another one."""
    manifest = load_manifest(folder)
    if (manifest.source, manifest.parameters) != (config.dataset.source, deciding_parameters(config.dataset)):
        raise InputError(
            f"{folder}: built with other parameters than params.yaml's; run dvc repro build-dataset, "
            "or choose another folder"
        )
    return manifest.digest
