"""`progan paint … report`: the stages that `dvc repro` runs."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.common_options import (
    DATASET,
    PARAMS,
    SNAPSHOTS,
    Dataset,
    Json,
    Params,
    Snapshots,
    phase_keys,
    print_json,
)
from progan.errors import InputError

if TYPE_CHECKING:
    from components.stages import Task
    from progan.config import Config

DatasetUri = Annotated[str, typer.Option("--dataset", help="The built dataset: its folder or s3:// address.")]
DatasetDigest = Annotated[str, typer.Option(help="Refuse a dataset whose manifest has another digest.")]
Key = Annotated[
    str, typer.Argument(help="The phase, such as r0008.", metavar="PHASE", autocompletion=phase_keys)
]


def _task(params: Path, stage: str, key: str | None = None) -> "tuple[Config, Task]":
    """The parameters, and one of their tasks."""
    from components import stages
    from progan import config

    loaded = config.load(params)
    return loaded, stages.task(loaded, stage, key)


def paint(
    name: Annotated[str, typer.Argument(help="A key of `paint` in params.yaml.")] = "toy-celeba",
    params: Params = PARAMS,
) -> None:
    """Paint the faces that the toy run trains on, into data/raw/NAME.

    Example: progan paint toy-celeba
    """
    from components.paint.stage import paint

    config, task = _task(params, "paint", name)
    paint(config, name, Path(task.outputs[0].path))


def build_dataset(params: Params = PARAMS, out: Dataset = DATASET) -> None:
    """Build the multi-resolution dataset from the photographs that params.yaml names.

    Example: progan build-dataset --out data/multires
    """
    from components.build_dataset.stage import build_dataset
    from progan import config

    build_dataset(config.load(params), out)


def warm_start(key: Key, params: Params = PARAMS) -> None:
    """Fetch the checkpoint of a registered version that params.yaml starts from.

    Example: progan warm-start r0064
    """
    from components.receipts import recorded
    from components.warm_start.stage import warm_start

    config, task = _task(params, "warm-start", key)
    with recorded(config, task) as (_, paths):
        warm_start(config, key, paths["checkpoint"])


def score_network(params: Params = PARAMS) -> None:
    """Prepare the network that scores generators: Inception from a file, or a classifier of the labels.

    Example: progan score-network
    """
    from components.receipts import recorded
    from components.score_network.stage import prepare_score_network

    config, task = _task(params, "score-network")
    with recorded(config, task) as (_, paths):
        prepare_score_network(config, paths["dataset"], paths["score_network"])


def train(
    key: Key,
    params: Params = PARAMS,
    dataset: DatasetUri = str(DATASET),
    dataset_digest: DatasetDigest = "",
    snapshots: Snapshots = SNAPSHOTS,
    gpus: Annotated[
        int,
        typer.Option(
            min=1, envvar="PROGAN_GPUS", help="Number of this machine's GPUs that share each minibatch."
        ),
    ] = 1,
) -> None:
    """Train one phase; if it was interrupted, resume from its newest snapshot.

    Example: progan train r0008 --gpus 2
    """
    from components.gate.stage import refuse_to_go_on
    from components.object_store.dataset import fetch_level
    from components.receipts import recorded
    from components.train.launch import PhaseJob, launch
    from pipelines.planning.step_times import forecast_here

    config, task = _task(params, "train", key)
    refuse_to_go_on(config, key)
    data = fetch_level(dataset, dataset_digest, config.phase(key).resolution)
    with recorded(config, task, dataset=data) as (identity, paths):
        expected = forecast_here(config, key, gpus)
        launch(PhaseJob.of(config, task, identity, paths, data, snapshots, expected), gpus)


def evaluate(
    key: Key,
    params: Params = PARAMS,
    dataset: DatasetUri = str(DATASET),
    dataset_digest: DatasetDigest = "",
) -> None:
    """Measure a finished phase: SWD, MS-SSIM, score, nearest training images; draw reals beside fakes.

    Example: progan evaluate r0008
    """
    from components.evaluate.stage import evaluate
    from components.object_store.dataset import fetch_level
    from components.receipts import recorded

    config, task = _task(params, "evaluate", key)
    data = fetch_level(dataset, dataset_digest, config.phase(key).resolution)
    with recorded(config, task, dataset=data) as (_, paths):
        evaluate(config, key, **paths)


def import_official(
    file: Annotated[Path, typer.Argument(help="The authors' pickle with the networks (G, D, Gs).")],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write, such as checkpoints/r1024.")],
    kimg: Annotated[
        float, typer.Option(help="Thousands of images that they were trained with, if known.")
    ] = 0.0,
) -> None:
    """Convert the authors' released weights to a checkpoint, without executing anything in their file.

    Example: progan import-official karras2018iclr-celebahq-1024x1024.pkl --out checkpoints/r1024
    """
    from components.import_official.stage import import_official

    import_official(file, kimg, out)


def gate(params: Params = PARAMS, as_json: Json = False) -> None:
    """Decide whether the last phase's generator is good enough, by the thresholds in params.yaml.

    Example: progan gate
    """
    from components import stages
    from components.gate.stage import gate
    from pipelines.dvc import Checkout
    from progan.files import read_json

    config, task = _task(params, "gate")
    evaluation = stages.task(config, "evaluate", config.last_phase).paths()["evaluation"]
    verdict = task.paths()["verdict"]
    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        if Path(".dvc").is_dir():
            Checkout().remove_leftovers()
        gate(config, evaluation, verdict)
    if as_json:
        print_json(read_json(verdict))


def register(params: Params = PARAMS) -> None:
    """Log the run to MLflow; register the generator if the gate passed.

    Example: progan register
    """
    from components.register.finished_runs import RunFiles
    from components.register.stage import register

    config, task = _task(params, "register")
    register(config, RunFiles(**task.paths()), str(DATASET))


def report(params: Params = PARAMS, snapshots: Snapshots = SNAPSHOTS) -> None:
    """Write the report, even of an unfinished run: one HTML file, and the tables for DVC.

    Example: progan report
    """
    from components.report.stage import ReportFiles, report

    config, task = _task(params, "report")
    report(config, ReportFiles(**task.paths()), snapshots=snapshots)


def summary(params: Params = PARAMS, as_json: Json = False) -> None:
    """Show what the run made and where to look.

    Example: progan summary
    """
    from components.report.summary import print_summary, summary

    _, task = _task(params, "report")
    facts = summary(task.paths())
    print_json(facts) if as_json else print_summary(facts)
    if not facts["up_to_date"]:
        raise InputError(
            f"registration.json: differs from the registry ({facts['registered']}); run progan register"
        )
