"""Photographs to the multi-resolution dataset."""

from pathlib import Path

from progan.config import Config
from progan.dataset.build import build
from progan.progress import show_progress


def build_dataset(config: Config, out: Path) -> None:
    """Build the dataset that params.yaml's `dataset` describes into the folder `out`."""
    with show_progress("build-dataset", "images") as advance:
        manifest = build(config.dataset, out, progress=advance)
    print(f"{out}: {manifest.images:,} images at {len(manifest.resolutions)} resolutions")
