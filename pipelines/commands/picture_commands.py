"""`progan generate | interpolate | timelapse | export`: what a generator makes, and itself as a file."""

from pathlib import Path
from typing import Annotated

import typer

WHAT = (
    "The generator: the folder of a finished phase (checkpoints/r0032), an .onnx file, or a version in the "
    "registry (models:/NAME@champion, models:/NAME/3)."
)
What = Annotated[str, typer.Argument(help=WHAT, metavar="GENERATOR")]
Seeds = Annotated[str, typer.Option(help="Which latents: 0-15, or 1,4,8.")]
Label = Annotated[str | None, typer.Option(help="The class, by name or number; a row of each without it.")]
Truncation = Annotated[
    float, typer.Option(help="From 1, all variety, to 0, the most typical image of the class.")
]
Video = Annotated[Path, typer.Option(help="An .mp4 (H.264) or .gif file.")]
Seconds = Annotated[float, typer.Option(help="How long it takes.")]
Fps = Annotated[int, typer.Option(help="Frames a second.")]


def generate(
    what: What,
    out: Annotated[Path, typer.Option(help="A .png file for a sheet, or a new folder for a file each.")],
    seeds: Seeds = "0-15",
    label: Label = None,
    truncation: Truncation = 1.0,
) -> None:
    """Make pictures: a sheet of them, or a file each.

    Example: progan generate checkpoints/r0032 --seeds 0-63 --out faces.png
    """
    from components.pictures.generate import generate
    from components.pictures.seeds import parse_seeds

    generate(what, parse_seeds(seeds), label, truncation, out)


def interpolate(
    what: What,
    out: Video,
    seeds: Seeds = "0-7",
    walks: Annotated[
        int, typer.Option(help="So many walks side by side, each through its share of the seeds.")
    ] = 1,
    label: Label = None,
    truncation: Truncation = 1.0,
    seconds: Seconds = 16.0,
    fps: Fps = 30,
) -> None:
    """Film a smooth walk through the images of the seeds that ends where it began.

    Example: progan interpolate models:/progan-toy-celeba@champion --seeds 0-11 --walks 3 --out walk.mp4
    """
    from components.pictures.interpolate import interpolate
    from components.pictures.seeds import parse_seeds

    interpolate(what, parse_seeds(seeds), walks, label, truncation, seconds, fps, out)


def timelapse(
    out: Video,
    what: Annotated[
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
    """Film how the images of the seeds grow, phase by phase, from 4×4 to the end.

    Example: progan timelapse checkpoints --seeds 0-5 --out growing.gif
    """
    from components.pictures.seeds import parse_seeds
    from components.pictures.timelapse import timelapse

    timelapse(what, parse_seeds(seeds), label, truncation, seconds, fps, out)


def export(
    what: What,
    onnx: Annotated[Path, typer.Option(help="The .onnx file to write.")],
) -> None:
    """Write the generator as an ONNX file, once onnxruntime has been seen to make the same images.

    Example: progan export models:/progan-toy-celeba@champion --onnx generator.onnx
    """
    from components.pictures.export import export

    export(what, onnx)
