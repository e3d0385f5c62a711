"""The MLflow runs of a training run: a parent for the whole run, and a child for each phase."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from PIL import Image

from components.evaluate.evaluation import Evaluation
from components.gate.verdict import Verdict
from components.register.metrics import curves, measures, milliseconds
from components.register.mlflow_registry import (
    CHECKPOINT,
    PARENT,
    PHASE,
    current_user,
    experiment_of,
    find_or_create_run,
)
from progan.config import Config
from progan.dataset.manifest import Manifest
from progan.files import canonical_json
from progan.history import History, Total
from progan.render import write_picture

RUN_KEY = "progan.identity"  # tag of the parent: the identity of the last phase
SAMPLES, PREVIEW = "samples.png", "preview.png"  # artifacts: reals beside fakes; the preview is smaller
PICTURE_KEY = "curves/same latents"  # images during training; the page shows them with a slider
PREVIEW_PIXELS = 830  # width of a version's page between MLflow's panels
METRICS_PER_REQUEST, PARAMS_PER_REQUEST = 500, 100
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
    """The parent run whose last phase has the identity of the candidate."""
    identity = verdict.candidate.identity
    experiment = experiment_of(mlflow_client, config.register.model)
    began = next((began for phase in config.phases if (began := files.history_of(phase).began)), None)
    tags = {"mlflow.source.git.commit": commit, **_origin()}
    name = f"{verdict.phase}-{identity[:8]}"
    return find_or_create_run(mlflow_client, experiment, {RUN_KEY: identity}, name, tags, milliseconds(began))


def _origin() -> dict[str, str]:
    """The source and the user that MLflow's pages show."""
    return {"mlflow.source.name": "progan", "mlflow.user": current_user()}


def log_parent(mlflow_client: Any, run: Any, config: Config, verdict: Verdict, files: RunFiles) -> None:
    """Log all parameters, the curves of all phases, the final measures and samples, and the verdict.

    The curves are logged only once: another machine that trains the same has other times and speeds. A
    measure that changed is logged again at the present time, as MLflow's registration fails if one metric has
    two values for the same time.
    """
    parent = run.info.run_id
    _log_params(mlflow_client, run, asdict(config))
    keys = () if run.info.status == "FINISHED" else config.phases
    points = [point for key in keys for point in curves(files.history_of(key), run.info.start_time)]
    final = measures(verdict.candidate, round(time.time() * 1000))
    changed = [measure for measure in final if run.data.metrics.get(measure.key) != measure.value]
    _log_metrics(mlflow_client, parent, [*points, *changed])
    mlflow_client.log_artifact(parent, str(files.verdict))
    mlflow_client.log_text(parent, yaml.safe_dump(asdict(config), sort_keys=False), "params.yaml")
    _log_samples(mlflow_client, parent, files.samples / f"{verdict.phase}.png")


def log_phase(
    mlflow_client: Any, config: Config, key: str, parent: Any, files: RunFiles, with_checkpoint: bool
) -> Any:
    """Log the phase `key` as a child of the run `parent` and return the child.

    What is missing in a child that is incomplete, or lacks the checkpoint that it should have, is added: it
    may be another process that is logging it.
    """
    history, checkpoint = files.history_of(key), files.checkpoints / key
    identity = {PARENT: parent.info.run_id, PHASE: key}
    began = milliseconds(history.began)
    run = find_or_create_run(mlflow_client, parent.info.experiment_id, identity, key, _origin(), began)
    run_id = run.info.run_id
    if run.info.status != "FINISHED":
        _log_params(mlflow_client, run, asdict(config.phase(key)))
        final = measures(files.evaluation_of(key), milliseconds(history.ended) or run.info.start_time)
        _log_metrics(mlflow_client, run_id, [*curves(history, run.info.start_time), *final])
        _log_samples(mlflow_client, run_id, files.samples / f"{key}.png")
        _log_grids(mlflow_client, run_id, files.grids / key)
    if with_checkpoint and checkpoint.exists() and not _has_checkpoint(mlflow_client, run_id, checkpoint):
        mlflow_client.log_artifacts(run_id, str(checkpoint), CHECKPOINT)
    if run.info.status != "FINISHED":
        terminate(mlflow_client, run, history.total)
    return run


def terminate(mlflow_client: Any, run: Any, training: Total) -> None:
    """End a run, after the training's own duration, without interruptions."""
    ended = run.info.end_time or run.info.start_time + round(1000 * training.seconds)
    mlflow_client.set_terminated(run.info.run_id, end_time=ended)


def _has_checkpoint(mlflow_client: Any, run: str, checkpoint: Path) -> bool:
    artifacts = mlflow_client.list_artifacts(run, CHECKPOINT)
    sizes = {Path(artifact.path).name: artifact.file_size for artifact in artifacts}
    return sizes == {file.name: file.stat().st_size for file in checkpoint.iterdir()}


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


def set_tags(mlflow_client: Any, run: str, tags: dict[str, str], description: str) -> None:
    """Set tags of a run and its description (Markdown)."""
    from mlflow.entities import RunTag
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    described = tags | {MLFLOW_RUN_NOTE: description}
    mlflow_client.log_batch(run, tags=[RunTag(name, value) for name, value in described.items()])


def _log_samples(mlflow_client: Any, run: str, samples: Path) -> None:
    """Reals beside fakes, in full size and as a preview."""
    with TemporaryDirectory() as folder, Image.open(samples) as picture:
        shutil.copy(samples, Path(folder) / SAMPLES)
        picture.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
        write_picture(Path(folder) / PREVIEW, picture)
        mlflow_client.log_artifacts(run, folder)


def _log_grids(mlflow_client: Any, run: str, folder: Path) -> None:
    """The images during training, at kimg since the phase began: MLflow's slider shows step 0 first."""
    logged = " ".join(artifact.path for artifact in mlflow_client.list_artifacts(run, "images"))
    files = sorted(folder.glob("*.png"))
    for file in files:
        step = round(float(file.stem) - float(files[0].stem))
        if f"+step+{step}+" not in logged:
            with Image.open(file) as picture:
                mlflow_client.log_image(run, picture, key=PICTURE_KEY, step=step)


def _log_metrics(mlflow_client: Any, run: str, metrics: list[Any]) -> None:
    """MLflow itself ignores those that exist with the same time and step."""
    for first in range(0, len(metrics), METRICS_PER_REQUEST):
        mlflow_client.log_batch(run, metrics=metrics[first : first + METRICS_PER_REQUEST])


def _log_params(mlflow_client: Any, run: Any, values: dict[str, Any]) -> None:
    """Log the parameters that the run does not have yet, by dotted names; MLflow does not allow changes."""
    from mlflow.entities import Param

    texts = dict(flat(values))
    missing = [Param(name, texts[name]) for name in texts.keys() - run.data.params.keys()]
    for first in range(0, len(missing), PARAMS_PER_REQUEST):
        mlflow_client.log_batch(run.info.run_id, params=missing[first : first + PARAMS_PER_REQUEST])


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and texts of nested values, as params.yaml has them."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else canonical_json(value)
