"""`progan dataset`: look at a built dataset, and check it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import options

if TYPE_CHECKING:
    from rich.table import Table

    from progan.dataset.manifest import Manifest

app = typer.Typer(name="dataset", help="Look at a built dataset, and check it.", no_args_is_help=True)

Dataset = Annotated[Path, typer.Argument(help="The folder of the built dataset.")]
SHEET = Path("contact-sheet.png")
MAX_CLASSES, MAX_SKIPPED = 40, 10  # lines of the tables


@app.command()
def show(
    dataset: Dataset = options.DATASET,
    sheet: Annotated[Path, typer.Option(help="Where to write the contact sheet.")] = SHEET,
    as_json: options.Json = False,
) -> None:
    """Print what a built dataset holds, and write a sheet of its images.

    Example: progan dataset show data/multires --sheet faces.png
    """
    from rich.console import Console
    from rich.text import Text

    from progan.dataset.contact_sheet import contact_sheet
    from progan.dataset.reader import load_manifest
    from progan.render import write_png

    manifest = load_manifest(dataset)
    write_png(sheet, contact_sheet(dataset))
    if as_json:
        options.print_json({**manifest.to_json(), "digest": manifest.digest, "contact_sheet": str(sheet)})
        return
    console = Console(highlight=False, markup=False)
    console.print(
        Text.assemble((manifest.name, "bold"), f": {manifest.images:,} images, from {manifest.source}")
    )
    facts = {**manifest.parameters, "channels": manifest.channels, "enlarged": manifest.enlarged}
    console.print(" · ".join(f"{name}: {_plain(value)}" for name, value in facts.items()), style="dim")
    for table in (_levels(manifest), _classes(manifest), _checks(manifest), _skipped(manifest)):
        if table.row_count:
            console.print(table)
    console.print(f"contact sheet: {sheet}")


@app.command()
def verify(dataset: Dataset = options.DATASET, as_json: options.Json = False) -> None:
    """Read every shard of a built dataset again and compare it with its digest.

    Example: progan dataset verify data/multires
    """
    from progan.dataset.verify import verify
    from progan.progress import show_progress

    with show_progress("verify", "bytes") as advance:
        manifest = verify(dataset, advance)
    shards = sum(len(level.shards) for level in manifest.levels.values())
    if as_json:
        facts = {"name": manifest.name, "images": manifest.images, "shards": shards}
        options.print_json(facts | {"digest": manifest.digest})
        return
    print(f"{dataset}: all {shards} shards are as {manifest.name} was built, {manifest.images:,} images")
    print(f"digest of its manifest: {manifest.digest}")


def _table(*columns: str, title: str) -> "Table":
    """A table whose first column is text and whose others are figures."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def _plain(value: Any) -> str:
    """A parameter as params.yaml spells it."""
    return "null" if value is None else f"[{', '.join(value)}]" if isinstance(value, list) else str(value)


def _levels(manifest: "Manifest") -> "Table":
    from rich.filesize import decimal

    table = _table("resolution", "images", "shards", "size", "digest", title="Resolutions")
    for resolution in manifest.resolutions:
        level = manifest.level(resolution)
        images, size = sum(s.images for s in level.shards), sum(s.bytes for s in level.shards)
        cells = (f"{images:,}", str(len(level.shards)), decimal(size), level.digest[:12])
        table.add_row(f"{resolution} × {resolution}", *cells)
    return table


def _classes(manifest: "Manifest") -> "Table":
    table = _table("class", "label", "images", "share", title="Classes")
    for label, count in enumerate(manifest.classes[:MAX_CLASSES]):
        table.add_row(count.name, str(label), f"{count.images:,}", f"{count.images / manifest.images:.1%}")
    if len(manifest.classes) > MAX_CLASSES:
        table.add_row(f"… and {len(manifest.classes) - MAX_CLASSES:,} more")
    return table


def _checks(manifest: "Manifest") -> "Table":
    table = _table("result", "images", title="Compared with the originals (checks.csv)")
    for result, images in manifest.checks.items():
        table.add_row(result, f"{images:,}")
    return table


def _skipped(manifest: "Manifest") -> "Table":
    table = _table("image", "why", title=f"Skipped: {manifest.skipped:,}")
    table.columns[1].justify = "left"
    for skipped in manifest.skipped_items[:MAX_SKIPPED]:
        table.add_row(skipped.name, skipped.why)
    if manifest.skipped > MAX_SKIPPED:
        table.add_row(f"… and {manifest.skipped - MAX_SKIPPED:,} more", "dataset.json lists them")
    return table
