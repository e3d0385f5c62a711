"""`progan paint … report`: the stages that `dvc repro` runs."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import (
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

DatasetUri = Annotated[
    str, typer.Option("--dataset", help="The built dataset: its folder, or its s3:// address.")
]
DatasetDigest = Annotated[str, typer.Option(help="Refuse a dataset whose manifest has another digest.")]
Key = Annotated[
    str, typer.Argument(help="The phase, such as r0008.", metavar="PHASE", autocompletion=phase_keys)
]
CHECKPOINTS, HISTORY, GRIDS = Path("checkpoints"), Path("history"), Path("grids")
EVALUATIONS, SAMPLES, SCORE_NETWORK = Path("evaluation"), Path("samples"), Path("score_network")
VERDICT, REGISTRATION, REPORT = Path("verdict.json"), Path("registration.json"), Path("report")


def paint(
    name: Annotated[str, typer.Argument(help="A key of `paint` in params.yaml.")] = "toy-celeba",
    params: Params = PARAMS,
) -> None:
    """Paint the faces that the toy run trains on, into data/raw/NAME.

    Example: progan paint toy-celeba
    """
    from components.paint.stage import paint
    from progan import config

    paint(config.load(params), name, Path("data/raw") / name)


def build_dataset(params: Params = PARAMS, out: Dataset = DATASET) -> None:
    """Make the multi-resolution dataset from the photographs that params.yaml names.

    Example: progan build-dataset --out data/multires
    """
    from components.build_dataset.stage import build_dataset
    from progan import config

    build_dataset(config.load(params), out)


def warm_start(key: Key, params: Params = PARAMS) -> None:
    """Fetch the checkpoint of a registered version that params.yaml starts from.

    Example: progan warm-start r0064
    """
    from components import stages
    from components.receipts import recorded
    from components.warm_start.stage import warm_start
    from progan import config

    loaded = config.load(params)
    with recorded(loaded, stages.task(loaded, "warm-start", key)) as (_, paths):
        warm_start(loaded, key, paths["checkpoint"])


def score_network(params: Params = PARAMS) -> None:
    """Prepare the network that scores generators: Inception from a file, or a classifier of the labels.

    Example: progan score-network
    """
    from components import stages
    from components.receipts import recorded
    from components.score_network.stage import prepare_score_network
    from progan import config

    loaded = config.load(params)
    with recorded(loaded, stages.task(loaded, "score-network")) as (_, paths):
        prepare_score_network(loaded, paths["dataset"], paths["score_network"])


def train(
    key: Key,
    params: Params = PARAMS,
    dataset: DatasetUri = str(DATASET),
    dataset_digest: DatasetDigest = "",
    snapshots: Snapshots = SNAPSHOTS,
    gpus: Annotated[
        int,
        typer.Option(min=1, envvar="PROGAN_GPUS", help="So many of this machine share each minibatch."),
    ] = 1,
) -> None:
    """Train one phase, going on from its newest snapshot if it was interrupted.

    Example: progan train r0008 --gpus 2
    """
    from components import stages
    from components.gate.stage import refuse_to_go_on
    from components.object_store.dataset import fetch_level
    from components.receipts import recorded
    from components.train.launch import PhaseJob, launch
    from progan import config

    loaded = config.load(params)
    task = stages.task(loaded, "train", key)
    refuse_to_go_on(loaded, key, CHECKPOINTS, EVALUATIONS)
    data = fetch_level(dataset, dataset_digest, loaded.phase(key).resolution)
    with recorded(loaded, task, dataset=data) as (identity, paths):
        launch(PhaseJob.of(loaded, task, identity, paths, data, snapshots), gpus)


def evaluate(
    key: Key,
    params: Params = PARAMS,
    dataset: DatasetUri = str(DATASET),
    dataset_digest: DatasetDigest = "",
) -> None:
    """Measure a finished phase: SWD, MS-SSIM, score, nearest training images; draw reals beside fakes.

    Example: progan evaluate r0008
    """
    from components import stages
    from components.evaluate.stage import evaluate
    from components.object_store.dataset import fetch_level
    from components.receipts import recorded
    from progan import config

    loaded = config.load(params)
    task = stages.task(loaded, "evaluate", key)
    data = fetch_level(dataset, dataset_digest, loaded.phase(key).resolution)
    with recorded(loaded, task, dataset=data) as (_, paths):
        evaluate(loaded, key, **paths)


def import_official(
    file: Annotated[Path, typer.Argument(help="A pickle of the authors': the networks (G, D, Gs).")],
    out: Annotated[Path, typer.Option(help="The checkpoint folder to make, such as checkpoints/r1024.")],
    kimg: Annotated[
        float, typer.Option(help="Thousands of images they were trained with, if you know it.")
    ] = 0.0,
) -> None:
    """Make a checkpoint of the authors' released weights, executing nothing that stands in their file.

    Example: progan import-official karras2018iclr-celebahq-1024x1024.pkl --out checkpoints/r1024
    """
    from components.import_official.stage import import_official

    import_official(file, kimg, out)


def gate(params: Params = PARAMS, as_json: Json = False) -> None:
    """Decide whether the last phase's generator is good enough, by the thresholds in params.yaml.

    Example: progan gate
    """
    from components.gate.stage import gate
    from progan import config
    from progan.files import read_json

    loaded = config.load(params)
    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        gate(loaded, EVALUATIONS / f"{loaded.last_phase}.json", VERDICT)
    if as_json:
        print_json(read_json(VERDICT))


def register(params: Params = PARAMS) -> None:
    """Log the run to MLflow; register the generator if the gate passed.

    Example: progan register
    """
    from components import stages
    from components.register.runs import RunFiles
    from components.register.stage import register
    from progan import config

    loaded = config.load(params)
    register(loaded, RunFiles(**stages.task(loaded, "register").paths()), str(DATASET))


def report(params: Params = PARAMS) -> None:
    """Write the report: one HTML file, and the tables behind `dvc plots` and `dvc metrics`.

    Example: progan report
    """
    from components import stages
    from components.report.stage import ReportFiles, report
    from progan import config

    loaded = config.load(params)
    report(loaded, ReportFiles(**stages.task(loaded, "report").paths()))


def summary(as_json: Json = False) -> None:
    """Say what the run made and where to look.

    Example: progan summary
    """
    from components.report.summary import print_summary, summary

    made = summary(VERDICT, REGISTRATION, SAMPLES, REPORT)
    print_json(made) if as_json else print_summary(made)
