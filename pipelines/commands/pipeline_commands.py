"""`progan compile | run | submit`: the pipeline as a file, on this machine and on a cluster."""

import sys
import time
from contextlib import redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands import common_options
from pipelines.kubeflow import TOKEN_OF_POD, Kubeflow

if TYPE_CHECKING:
    from pipelines.profile import Profile
    from progan.config import Config


class Runner(StrEnum):
    """How each task is run."""

    subprocess = "subprocess"
    docker = "docker"


def run(
    runner: Annotated[Runner, typer.Option(help="How to run each task.")] = Runner.subprocess,
    image: Annotated[str, typer.Option(help="Image for --runner docker.")] = "progan:latest",
    params: common_options.Params = common_options.PARAMS,
    dataset: Annotated[
        str, typer.Option(help="Where the dataset is or will be built: a folder or an s3:// address.")
    ] = str(common_options.DATASET),
    results: Annotated[
        str | None, typer.Option(help="Where results are stored, a folder or s3://; default: in the root.")
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder for everything that the run stores.")] = Path(".kfp"),
) -> None:
    """Run the pipeline here; tasks with unchanged parameters and data come from the cache.

    Example: progan run --runner docker --image progan:latest
    """
    from pipelines.local_run import run_here
    from progan import config

    in_containers = image if runner is Runner.docker else None
    if not run_here(config.load(params), dataset, results, root, in_containers):
        typer.echo("progan: the run did not finish; the log above says why", err=True)
        raise typer.Exit(1)


def compile(
    params: common_options.Params = common_options.PARAMS,
    profile: common_options.ProfileFile = common_options.PROFILE,
    image: common_options.Image = None,
    dataset: common_options.Dataset = common_options.DATASET,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("pipeline.yaml"),
) -> None:
    """Write the pipeline for a cluster; the same inputs give the same bytes.

    Refuses what would only fail on the cluster: an image without a digest, minibatches that the GPUs cannot
    share, too little GPU memory.

    Example: progan compile --image registry.example.org/progan@sha256:…
    """
    from pipelines.compiling import compiled
    from progan.files import atomic_file

    text = compiled(*_read_all(params, profile, image, dataset))
    with atomic_file(out) as partial:
        partial.write_text(text)
    print(f"{out}: written")


def submit(
    host: common_options.Host,
    experiment: common_options.Experiment = None,
    namespace: common_options.Namespace = None,
    token_file: common_options.TokenFile = TOKEN_OF_POD,
    ui: common_options.Ui = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the run ends; exit 1 if it failed.")
    ] = False,
    as_json: common_options.Json = False,
    params: common_options.Params = common_options.PARAMS,
    profile: common_options.ProfileFile = common_options.PROFILE,
    image: common_options.Image = None,
    dataset: common_options.Dataset = common_options.DATASET,
) -> None:
    """Start a run on a cluster and print its address.

    Finished tasks are not repeated, whether they ran there or here: if the profile stores results in S3,
    this checkout's are handed over.

    Example: progan submit --host https://kubeflow.example.org/pipeline --token-file token --wait
    """
    from pipelines.compiling import compiled, storage_of
    from pipelines.hand_over import hand_over

    loaded, cluster, digest = _read_all(params, profile, image, dataset)
    text = compiled(loaded, cluster, digest)
    kubeflow = Kubeflow(host, token_file, namespace or cluster.namespace, ui)
    handed_over = hand_over(loaded, storage_of(loaded, cluster), dataset)
    name = experiment or loaded.register.model
    run_name = f"{name} {time.strftime('%Y-%m-%d %H:%M:%S')}"
    run = kubeflow.start(text, kubeflow.experiment(name), run_name, cluster.service_account)
    url = kubeflow.page(run)
    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        print(url, flush=True)
        state = kubeflow.wait(run) if wait else None
    if as_json:
        common_options.print_json({"run": run, "url": url, "handed_over": handed_over, "state": state})
    if wait and state != "SUCCEEDED":
        typer.echo(f"progan: the run ended {state}; submit again to go on from what there is", err=True)
        raise typer.Exit(1)


def _read_all(params: Path, profile: Path, image: str | None, dataset: Path) -> "tuple[Config, Profile, str]":
    """The parameters, the cluster profile and the digest of the dataset."""
    from pipelines.known_dataset import planned_dataset
    from pipelines.profile import load_profile
    from progan import config

    loaded = config.load(params)
    return loaded, load_profile(profile, image), planned_dataset(loaded, str(dataset))
