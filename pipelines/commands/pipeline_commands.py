"""`progan compile | run | submit`: the pipeline, as a file, on this machine, and on a cluster."""

import contextlib
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands import options
from pipelines.kubeflow import TOKEN_OF_POD, Kubeflow, address

if TYPE_CHECKING:
    from pipelines.profile import Profile
    from progan.config import Config


class Runner(StrEnum):
    """What a task runs in."""

    subprocess = "subprocess"
    docker = "docker"


def run(
    runner: Annotated[Runner, typer.Option(help="What a task runs in.")] = Runner.subprocess,
    image: Annotated[str, typer.Option(help="The image, for docker.")] = "progan:latest",
    params: options.Params = options.PARAMS,
    dataset: Annotated[
        str, typer.Option(help="Where the dataset is, or is to be: a folder, or an s3:// address.")
    ] = str(options.DATASET),
    results: Annotated[
        str | None, typer.Option(help="Where results are kept, s3:// or a folder; in the root if not given.")
    ] = None,
    root: Annotated[Path, typer.Option(help="The folder of all that the run keeps.")] = Path(".kfp"),
) -> None:
    """Run the pipeline here. Tasks whose parameters and data are as before come from the cache.

    Example: progan run --runner docker --image progan:latest
    """
    from pipelines.local_run import run_here
    from progan import config

    in_containers = image if runner is Runner.docker else None
    if not run_here(config.load(params), dataset, results, root, in_containers):
        typer.echo("progan: the run did not finish; the log above says why", err=True)
        raise typer.Exit(1)


def compile(
    params: options.Params = options.PARAMS,
    profile: options.ProfileFile = options.PROFILE,
    image: options.Image = None,
    dataset: options.Dataset = options.DATASET,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("pipeline.yaml"),
) -> None:
    """Write the pipeline for a cluster; the same bytes as long as nothing changes.

    Refuses what would fail there only: an image without a digest, minibatches that GPUs cannot share, too
    little GPU memory.

    Example: progan compile --image registry.example.org/progan@sha256:…
    """
    from pipelines.compiling import compiled
    from progan.files import atomic_file

    text = compiled(*_read_all(params, profile, image, dataset))
    with atomic_file(out) as beside:
        beside.write_text(text)
    print(f"{out}: written")


def submit(
    host: options.Host,
    experiment: options.Experiment = None,
    namespace: options.Namespace = None,
    token_file: options.TokenFile = TOKEN_OF_POD,
    ui: options.Ui = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 if it failed.")] = False,
    as_json: options.Json = False,
    params: options.Params = options.PARAMS,
    profile: options.ProfileFile = options.PROFILE,
    image: options.Image = None,
    dataset: options.Dataset = options.DATASET,
) -> None:
    """Start a run on a cluster and print its address.

    What was trained and measured, there or here, is not done again: what this checkout has finished is handed
    over where the profile keeps results in S3.

    Example: progan submit --host https://kubeflow.example.org/pipeline --token-file token --wait
    """
    from pipelines.compiling import compiled
    from pipelines.hand_over import hand_over_and_tell

    loaded, cluster, digest = _read_all(params, profile, image, dataset)
    text = compiled(loaded, cluster, digest)
    kubeflow = Kubeflow(host, token_file, namespace or cluster.namespace)
    handed = hand_over_and_tell(loaded, cluster, dataset)
    name = experiment or loaded.register.model
    run_name = f"{name} {time.strftime('%Y-%m-%d %H:%M:%S')}"
    run = kubeflow.start(text, kubeflow.experiment(name), run_name, cluster.service_account)
    url = address(ui or host, run)
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        print(url, flush=True)
        state = kubeflow.wait(run, url) if wait else None
    if as_json:
        options.print_json({"run": run, "url": url, "handed_over": handed, "state": state})
    if wait and state != "SUCCEEDED":
        raise typer.Exit(1)


def _read_all(params: Path, profile: Path, image: str | None, dataset: Path) -> "tuple[Config, Profile, str]":
    """Parameters, cluster profile and the digest of the dataset."""
    from pipelines.known_dataset import planned_dataset
    from pipelines.profile import load_profile
    from progan import config

    loaded = config.load(params)
    return loaded, load_profile(profile, image), planned_dataset(loaded, str(dataset))
