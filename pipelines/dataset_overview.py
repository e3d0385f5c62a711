"""The contents of a built dataset, printed as tables."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from progan.dataset.manifest import Manifest

Rows = Sequence[tuple[str, ...]]
MAX_CLASSES, MAX_FILES = 40, 10  # rows of the tables


def print_overview(manifest: Manifest) -> None:
    """Print the source, the parameters and the tables that are not empty."""
    console = Console(highlight=False, markup=False)
    console.print(
        Text.assemble((manifest.name, "bold"), f": {manifest.images:,} images, from {manifest.source}")
    )
    facts = {**manifest.parameters, "channels": manifest.channels, "enlarged": manifest.enlarged}
    console.print(" · ".join(f"{name}: {_plain(value)}" for name, value in facts.items()), style="dim")
    for title, columns, rows in _tables(manifest):
        table = Table()
        for column in columns:
            is_text = column in (columns[0], "why")
            table.add_column(column, justify="left" if is_text else "right", overflow="fold")
        for row in rows:
            table.add_row(*row)
        if rows:
            console.print(title, style="bold")
            console.print(table)


def _plain(value: Any) -> str:
    """A parameter as in params.yaml."""
    return "null" if value is None else f"[{', '.join(value)}]" if isinstance(value, list) else str(value)


def _tables(manifest: Manifest) -> Iterator[tuple[str, tuple[str, ...], Rows]]:
    """The title, the columns and the rows of each table."""
    levels = [_level(manifest, resolution) for resolution in manifest.resolutions]
    yield "Resolutions", ("resolution", "images", "shards", "size", "digest"), levels
    classes = [
        (each.name, str(label), f"{each.images:,}", f"{each.images / manifest.images:.1%}")
        for label, each in enumerate(manifest.classes)
    ]
    yield "Classes", ("class", "label", "images", "share"), _first(classes, MAX_CLASSES, len(classes))
    checks = [(result, f"{images:,}") for result, images in manifest.checks.items()]
    yield "Compared with the originals (checks.csv)", ("result", "images"), checks
    skipped = [(item.name, item.why) for item in manifest.skipped_items]
    rows = _first(skipped, MAX_FILES, manifest.skipped)
    yield f"Skipped: {manifest.skipped:,}", ("image", "why"), rows
    rows = _first([(name,) for name in manifest.passed_over_items], MAX_FILES, manifest.passed_over)
    yield f"Passed over, not read as photographs: {manifest.passed_over:,}", ("file",), rows


def _level(manifest: Manifest, resolution: int) -> tuple[str, ...]:
    level = manifest.level(resolution)
    images, size = (sum(getattr(shard, name) for shard in level.shards) for name in ("images", "bytes"))
    side = f"{resolution} × {resolution}"
    return side, f"{images:,}", str(len(level.shards)), decimal(size), level.digest[:12]


def _first(rows: Rows, limit: int, total: int) -> Rows:
    """The first rows, and how many more dataset.json has."""
    more = [(f"… and {total - limit:,} more, in dataset.json",)] if total > limit else []
    return [*rows[:limit], *more]
