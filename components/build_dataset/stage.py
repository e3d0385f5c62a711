"""Photographs to the multi-resolution dataset."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from progan.config import Config
from progan.dataset.build import build
from progan.dataset.manifest import CHECKS_NAME
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
