"""`progan generate | interpolate | timelapse | compare | explore | export`: what generators make."""

from pathlib import Path
from typing import Annotated

import typer

from progan.errors import InputError

Generator = Annotated[
    str,
    typer.Argument(
        help="A finished phase's folder (checkpoints/r0032), an .onnx file, or a version in the registry "
        "(models:/NAME@champion, models:/NAME/3).",
        metavar="GENERATOR",
    ),
]
Seeds = Annotated[str, typer.Option(help="Seeds of the latents, such as 0-15 or 1,4,8.")]
Label = Annotated[str | None, typer.Option(help="Class, by name or number; default: a row of each class.")]
Truncation = Annotated[float, typer.Option(help="From 1, full variety, to 0, the most typical image.")]
Video = Annotated[Path, typer.Option(help="An .mp4 (H.264) or .gif file.")]
Seconds = Annotated[float, typer.Option(help="Length of the film.")]
Fps = Annotated[int, typer.Option(help="Frames per second.")]


def generate(
    generator: Generator,
    out: Annotated[
        Path,
        typer.Option(help="A picture (.png, .jpg, .webp …) for a sheet, or a new folder for single files."),
    ],
    seeds: Seeds = "0-15",
    label: Label = None,
    truncation: Truncation = 1.0,
) -> None:
    """Generate images: one sheet, or a file for each image.

    Example: progan generate checkpoints/r0032 --seeds 0-63 --out faces.png
    """
    from components.pictures.generate import generate
    from components.pictures.seeds import parse_seeds

    generate(generator, parse_seeds(seeds), label, truncation, out)


def interpolate(
    generator: Generator,
    out: Video,
    seeds: Seeds = "0-7",
    walks: Annotated[
        int, typer.Option(help="Number of walks side by side, each through its share of the seeds.")
    ] = 1,
    label: Label = None,
    truncation: Truncation = 1.0,
    seconds: Seconds = 16.0,
    fps: Fps = 30,
) -> None:
    """Film a smooth walk through the images of the seeds and back to the first.

    Example: progan interpolate models:/progan-toy-celeba@champion --seeds 0-11 --walks 3 --out walk.mp4
    """
    from components.pictures.interpolate import interpolate
    from components.pictures.seeds import parse_seeds

    interpolate(generator, parse_seeds(seeds), walks, label, truncation, seconds, fps, out)


def timelapse(
    out: Video,
    checkpoints: Annotated[
        str,
        typer.Argument(
            help="The folder of the phases' checkpoints, or a version in the registry.", metavar="PHASES"
        ),
    ] = "checkpoints",
    seeds: Seeds = "0-8",
    label: Label = None,
    truncation: Truncation = 1.0,
    seconds: Seconds = 10.0,
    fps: Fps = 30,
) -> None:
    """Film how the images of the seeds grow, phase by phase, from 4×4 to the last.

    Example: progan timelapse checkpoints --seeds 0-5 --out growing.gif
    """
    from components.pictures.seeds import parse_seeds
    from components.pictures.timelapse import timelapse

    timelapse(checkpoints, parse_seeds(seeds), label, truncation, seconds, fps, out)


def compare(
    generators: Annotated[
        list[str],
        typer.Argument(
            help="Two or more: versions in the registry (models:/NAME@champion, models:/NAME/3), folders of "
            "finished phases.",
            metavar="VERSION",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The page to write, an .html file.")] = Path("compare.html"),
    seeds: Seeds = "0-7",
    label: Annotated[str | None, typer.Option(help="Class, by name or number; default: all classes.")] = None,
) -> None:
    """Write a page with images of the same seeds side by side, measures, and parameters that differ.

    Example: progan compare models:/progan-toy-celeba@champion models:/progan-toy-celeba@candidate
    """
    from components.pictures.compare import compare
    from components.pictures.seeds import parse_seeds

    compare(generators, parse_seeds(seeds), label, out)


def explore(
    source: Annotated[
        str,
        typer.Argument(
            help="A finished phase's folder (checkpoints/r0032), the folder of all phases (checkpoints), a "
            "folder of snapshots, or a version in the registry (models:/NAME@champion, models:/NAME/3).",
            metavar="SOURCE",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The page to write, an .html file.")] = Path("explore.html"),
) -> None:
    """Write a page in which the generator runs in the browser, without a server.

    Example: progan explore checkpoints --out explore.html
    """
    from components.pictures.explore import explore

    explore(source, out)


def export(
    generator: Generator,
    onnx: Annotated[Path | None, typer.Option(help="The .onnx file to write.")] = None,
    card: Annotated[
        Path | None,
        typer.Option(
            help="A new folder for the Hugging Face Hub: the ONNX file, samples and the model card README.md."
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="Licence of the weights, as the Hub calls it; default: that of the training images.",
        ),
    ] = None,
) -> None:
    """Write the generator as an ONNX file, alone or with a model card, if onnxruntime makes the same images.

    Example: progan export models:/progan-toy-celeba@champion --card toy-celeba
    """
    from components.pictures.export import export

    if onnx is None and card is None:
        raise InputError("progan export: name what to write: --onnx FILE or --card FOLDER")
    if onnx:
        export(generator, onnx)
    if card:
        from components.pictures.model_card import export_card

        export_card(generator, card, licence)
