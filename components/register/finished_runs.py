"""Complete the MLflow runs of a training run that has ended: a parent for it, and a child for each phase."""

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from PIL import Image

from components.evaluate.evaluation import Evaluation
from components.gate.verdict import Verdict
from components.tracking.client import experiment_of
from components.tracking.metrics import curves, measures, milliseconds, step
from components.tracking.runs import (
    CHECKPOINT,
    REGISTERED,
    find_or_create_child,
    find_or_create_run,
    find_runs,
    log_metrics,
    log_params,
    log_picture,
    origin,
    set_tags,
    terminate,
    unregistered_parents,
)
from progan.config import Config
from progan.dataset.manifest import Manifest
from progan.history import History
from progan.render import write_picture

SAMPLES, PREVIEW = "samples.png", "preview.png"  # artifacts: reals beside fakes; the preview is smaller
PREVIEW_PIXELS = 830  # width of a version's page between MLflow's panels
DIGEST_LENGTH = 36  # characters of a dataset's digest in MLflow's database


@dataclass(frozen=True)
class RunFiles:
    """The inputs and outputs of `register`, by their names in dvc.yaml; folders have one entry per phase."""

    verdict: Path
    dataset: Path
    checkpoints: Path
    history: Path
    grids: Path
    evaluation: Path
    samples: Path
    registration: Path

    def history_of(self, key: str) -> History:
        return History.read(self.history / f"{key}.csv")

    def evaluation_of(self, key: str) -> Evaluation:
        return Evaluation.read(self.evaluation / f"{key}.json")


def find_or_create_parent(
    mlflow_client: Any, config: Config, verdict: Verdict, files: RunFiles, commit: str
) -> Any:
    """The parent run whose last phase has the identity of the candidate; training may have begun it."""
    identity = verdict.candidate.identity
    experiment = experiment_of(mlflow_client, config.register.model)
    name = f"{verdict.phase}-{identity[:8]}"
    if not find_runs(mlflow_client, experiment, {REGISTERED: identity}):
        for parent in unregistered_parents(mlflow_client, experiment, identity):
            set_tags(mlflow_client, parent.info.run_id, {REGISTERED: identity})
            mlflow_client.update_run(parent.info.run_id, name=name)
    began = next((began for phase in config.phases if (began := files.history_of(phase).began)), None)
    tags = {"mlflow.source.git.commit": commit, **origin()}
    return find_or_create_run(
        mlflow_client, experiment, {REGISTERED: identity}, name, tags, milliseconds(began)
    )


def log_parent(mlflow_client: Any, run: Any, config: Config, verdict: Verdict, files: RunFiles) -> None:
    """Log all parameters, the curves of all phases, the final measures and samples, and the verdict.

    The curves are logged only once: another machine that trains the same has other times and speeds. A
    measure that changed is logged again at the present time, as MLflow's registration fails if one metric has
    two values for the same time.
    """
    parent = run.info.run_id
    log_params(mlflow_client, run, asdict(config))
    keys = () if run.info.status == "FINISHED" else config.phases
    points = [point for key in keys for point in curves(files.history_of(key).rows, run.info.start_time)]
    final = measures(verdict.candidate, round(time.time() * 1000))
    changed = [measure for measure in final if run.data.metrics.get(measure.key) != measure.value]
    log_metrics(mlflow_client, parent, [*points, *changed])
    mlflow_client.log_artifact(parent, str(files.verdict))
    mlflow_client.log_text(parent, yaml.safe_dump(asdict(config), sort_keys=False), "params.yaml")
    _log_samples(mlflow_client, parent, files.samples / f"{verdict.phase}.png")


def log_phase(
    mlflow_client: Any, config: Config, key: str, parent: Any, files: RunFiles, with_checkpoint: bool
) -> Any:
    """Log the phase `key` as a child of the run `parent` and return the child.

    What a child lacks is added: it ends before its phase is evaluated, and another process may be logging it.
    """
    history, evaluation = files.history_of(key), files.evaluation_of(key)
    run = find_or_create_child(mlflow_client, parent, key, evaluation.identity, history.began)
    run_id = run.info.run_id
    if run.info.status != "FINISHED":
        log_metrics(mlflow_client, run_id, curves(history.rows, run.info.start_time))
    if run.info.status != "FINISHED" or not _is_measured(run):
        log_params(mlflow_client, run, asdict(config.phase(key)))
        final = measures(evaluation, milliseconds(history.ended) or run.info.start_time)
        log_metrics(mlflow_client, run_id, final)
        _log_samples(mlflow_client, run_id, files.samples / f"{key}.png")
        _log_grids(mlflow_client, run_id, files.grids / key)
    checkpoint = files.checkpoints / key
    if with_checkpoint and checkpoint.exists() and not _has_checkpoint(mlflow_client, run_id, checkpoint):
        mlflow_client.log_artifacts(run_id, str(checkpoint), CHECKPOINT)
    terminate(mlflow_client, run, history.total)
    return run


def _is_measured(run: Any) -> bool:
    return any(name.startswith("measures/") for name in run.data.metrics)


def _has_checkpoint(mlflow_client: Any, run: str, checkpoint: Path) -> bool:
    """Whether the run has all files of a checkpoint; it may have a signature besides."""
    artifacts = mlflow_client.list_artifacts(run, CHECKPOINT)
    sizes = {Path(artifact.path).name: artifact.file_size for artifact in artifacts}
    return {file.name: file.stat().st_size for file in checkpoint.iterdir()}.items() <= sizes.items()


def log_dataset(
    mlflow_client: Any, run: Any, manifest: Manifest | None, uri: str, evaluation: Evaluation
) -> None:
    """Log the dataset at `uri` as the training input of `run`, with the digest of the evaluated level."""
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import Dataset, DatasetInput, InputTag

    if manifest is None or run.inputs.dataset_inputs:
        return
    source = resolve_dataset_source(uri if "://" in uri else str(Path(uri).resolve()))
    fields = MetaDataset(source, manifest.name, evaluation.dataset[:DIGEST_LENGTH]).to_dict()  # type: ignore[abstract]
    facts = {"images": manifest.images, "classes": len(manifest.classes)}
    profile = json.dumps(facts | {"resolution": evaluation.resolution})
    tags = [InputTag("mlflow.data.context", "training"), InputTag("digest", evaluation.dataset)]
    inputs = [DatasetInput(Dataset(**fields, profile=profile), tags)]
    mlflow_client.log_inputs(run.info.run_id, inputs)


def _log_samples(mlflow_client: Any, run: str, samples: Path) -> None:
    """Reals beside fakes, in full size and as a preview."""
    with TemporaryDirectory() as folder, Image.open(samples) as picture:
        shutil.copy(samples, Path(folder) / SAMPLES)
        picture.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
        write_picture(Path(folder) / PREVIEW, picture)
        mlflow_client.log_artifacts(run, folder)


def _log_grids(mlflow_client: Any, run: str, folder: Path) -> None:
    """The images during training, since the phase began: MLflow's slider shows step 0 first."""
    files = sorted(folder.glob("*.png"))
    for file in files:
        with Image.open(file) as picture:
            log_picture(mlflow_client, run, picture, step(float(file.stem) - float(files[0].stem)))
