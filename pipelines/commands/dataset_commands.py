"""`progan dataset`: inspect and verify a built dataset."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import common_options

app = typer.Typer(
    name="dataset",
    cls=common_options.Group,
    help="Inspect and verify a built dataset.",
    no_args_is_help=True,
)

Dataset = Annotated[Path, typer.Argument(help="Folder of the built dataset.")]
SHEET = Path("contact-sheet.png")


@app.command()
def show(
    dataset: Dataset = common_options.DATASET,
    sheet: Annotated[Path, typer.Option(help="File for the contact sheet.")] = SHEET,
    as_json: common_options.Json = False,
) -> None:
    """Print what a built dataset holds, and write a contact sheet of its images.

    Example: progan dataset show data/multires --sheet faces.png
    """
    from pipelines.dataset_overview import print_overview
    from progan.dataset.contact_sheet import contact_sheet
    from progan.dataset.reader import load_manifest
    from progan.render import write_picture

    manifest = load_manifest(dataset)
    write_picture(sheet, contact_sheet(dataset))
    if as_json:
        common_options.print_json(
            {**manifest.to_json(), "digest": manifest.digest, "contact_sheet": str(sheet)}
        )
        return
    print_overview(manifest)
    print(f"contact sheet: {sheet}")


@app.command()
def verify(dataset: Dataset = common_options.DATASET, as_json: common_options.Json = False) -> None:
    """Compare every shard of a built dataset with its digest.

    Example: progan dataset verify data/multires
    """
    from progan.dataset.verify import verify
    from progan.progress import show_progress

    with show_progress("verify", "bytes") as advance:
        manifest = verify(dataset, advance)
    shards = sum(len(level.shards) for level in manifest.levels.values())
    if as_json:
        facts = {"name": manifest.name, "images": manifest.images, "shards": shards}
        common_options.print_json(facts | {"digest": manifest.digest})
        return
    print(
        f"{dataset}: all {shards} shards of {manifest.name} match their digests, {manifest.images:,} images"
    )
    print(f"digest of the manifest: {manifest.digest}")
