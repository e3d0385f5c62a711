"""The contents of a built dataset, printed as tables."""

from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from progan.dataset.manifest import Manifest

MAX_CLASSES, MAX_SKIPPED = 40, 10  # rows of the tables


def print_overview(manifest: Manifest) -> None:
    """Print the source, the parameters, and tables of resolutions, classes, checks and skipped images."""
    console = Console(highlight=False, markup=False)
    console.print(
        Text.assemble((manifest.name, "bold"), f": {manifest.images:,} images, from {manifest.source}")
    )
    facts = {**manifest.parameters, "channels": manifest.channels, "enlarged": manifest.enlarged}
    console.print(" · ".join(f"{name}: {_plain(value)}" for name, value in facts.items()), style="dim")
    for table in (
        _levels(manifest),
        _classes(manifest),
        _checks(manifest),
        _skipped(manifest),
        _passed_over(manifest),
    ):
        if table.row_count:
            console.print(table)


def _table(*columns: str, title: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def _plain(value: Any) -> str:
    """A parameter as in params.yaml."""
    return "null" if value is None else f"[{', '.join(value)}]" if isinstance(value, list) else str(value)


def _levels(manifest: Manifest) -> Table:
    table = _table("resolution", "images", "shards", "size", "digest", title="Resolutions")
    for resolution in manifest.resolutions:
        level = manifest.level(resolution)
        images, size = sum(s.images for s in level.shards), sum(s.bytes for s in level.shards)
        cells = (f"{images:,}", str(len(level.shards)), decimal(size), level.digest[:12])
        table.add_row(f"{resolution} × {resolution}", *cells)
    return table


def _classes(manifest: Manifest) -> Table:
    table = _table("class", "label", "images", "share", title="Classes")
    for label, count in enumerate(manifest.classes[:MAX_CLASSES]):
        table.add_row(count.name, str(label), f"{count.images:,}", f"{count.images / manifest.images:.1%}")
    if len(manifest.classes) > MAX_CLASSES:
        table.add_row(f"… and {len(manifest.classes) - MAX_CLASSES:,} more")
    return table


def _checks(manifest: Manifest) -> Table:
    table = _table("result", "images", title="Compared with the originals (checks.csv)")
    for result, images in manifest.checks.items():
        table.add_row(result, f"{images:,}")
    return table


def _skipped(manifest: Manifest) -> Table:
    table = _table("image", "why", title=f"Skipped: {manifest.skipped:,}")
    table.columns[1].justify = "left"
    for skipped in manifest.skipped_items[:MAX_SKIPPED]:
        table.add_row(skipped.name, skipped.why)
    if manifest.skipped > MAX_SKIPPED:
        table.add_row(f"… and {manifest.skipped - MAX_SKIPPED:,} more", "dataset.json lists them")
    return table


def _passed_over(manifest: Manifest) -> Table:
    table = _table("file", title=f"Passed over, no photographs: {manifest.passed_over:,}")
    for name in manifest.passed_over_items[:MAX_SKIPPED]:
        table.add_row(name)
    if manifest.passed_over > MAX_SKIPPED:
        table.add_row(f"… and {manifest.passed_over - MAX_SKIPPED:,} more; dataset.json lists them")
    return table
