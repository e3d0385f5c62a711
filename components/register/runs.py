"""The MLflow runs of a training run: a parent for the whole run, and a child for each phase."""

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
from components.register.metrics import curves, measures, milliseconds
from components.register.mlflow_registry import CHECKPOINT, current_user, phase_runs
from progan.config import Config
from progan.dataset.manifest import Manifest
from progan.files import canonical_json
from progan.history import History
from progan.render import write_png

RUN_KEY = "progan.identity"  # tag of the parent: the identity of the last phase
SAMPLES, PREVIEW = "samples.png", "preview.png"  # artifacts: reals beside fakes; the preview is smaller
PICTURE_KEY = "curves/same latents"  # images during training; the page shows them with a slider
PREVIEW_PIXELS = 830  # width of a version's page between MLflow's panels
METRICS_PER_REQUEST = 500
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
) -> str:
    """The id of the parent run whose last phase has the identity of the candidate."""
    name = config.register.model
    experiment = mlflow_client.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment else mlflow_client.create_experiment(name)
    identity = verdict.candidate.identity
    runs = mlflow_client.search_runs([experiment_id], f"tags.`{RUN_KEY}` = '{identity}'")
    if runs:
        return runs[0].info.run_id
    began = next((began for phase in config.phases if (began := files.history_of(phase).began)), None)
    tags = {RUN_KEY: identity, "mlflow.source.git.commit": commit, **_origin()}
    name = f"{verdict.phase}-{identity[:8]}"
    return mlflow_client.create_run(experiment_id, milliseconds(began), tags, name).info.run_id


def _origin() -> dict[str, str]:
    """The source and the user that MLflow's pages show."""
    return {"mlflow.source.name": "progan", "mlflow.user": current_user()}


def log_parent(mlflow_client: Any, parent: str, config: Config, verdict: Verdict, files: RunFiles) -> None:
    """Log the shared parameters, the curves of all phases, the final measures and samples, and the verdict.

    The curves are logged only once: another machine that trains the same has other times and speeds. A
    measure that changed is logged again at the present time, as MLflow's registration fails if one metric has
    two values for the same time.
    """
    sections = {"network": asdict(config.network), "training": asdict(config.training)}
    params = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    _log_params(mlflow_client, parent, params)
    run = mlflow_client.get_run(parent)
    started, keys = run.info.start_time, () if run.info.status == "FINISHED" else config.phases
    points = [point for key in keys for point in curves(files.history_of(key), started)]
    final = measures(verdict.candidate, round(time.time() * 1000))
    changed = [measure for measure in final if run.data.metrics.get(measure.key) != measure.value]
    _log_metrics(mlflow_client, parent, [*points, *changed])
    mlflow_client.log_artifact(parent, str(files.verdict))
    mlflow_client.log_text(parent, yaml.safe_dump(asdict(config), sort_keys=False), "params.yaml")
    _log_samples(mlflow_client, parent, files.samples / f"{verdict.phase}.png")


def log_phase(
    mlflow_client: Any, config: Config, key: str, parent: str, files: RunFiles, with_checkpoint: bool
) -> str:
    """Log the phase `key` as a child of `parent` and return the child's id.

    A child that is incomplete, or lacks the checkpoint that it should have, is deleted and logged again.
    """
    experiment_id = mlflow_client.get_run(parent).info.experiment_id
    checkpoint, history = files.checkpoints / key, files.history_of(key)
    with_checkpoint = with_checkpoint and checkpoint.exists()
    for run in phase_runs(mlflow_client, parent, key):
        lacks_checkpoint = with_checkpoint and not mlflow_client.list_artifacts(run.info.run_id, CHECKPOINT)
        if run.info.status == "FINISHED" and not lacks_checkpoint:
            return run.info.run_id
        mlflow_client.delete_run(run.info.run_id)
    tags = {"mlflow.parentRunId": parent, "phase": key, **_origin()}
    began, ended = milliseconds(history.began), milliseconds(history.ended)
    run = mlflow_client.create_run(experiment_id, began, tags, key).info
    _log_params(mlflow_client, run.run_id, asdict(config.phase(key)))
    final = measures(files.evaluation_of(key), ended or run.start_time)
    _log_metrics(mlflow_client, run.run_id, [*curves(history, run.start_time), *final])
    _log_samples(mlflow_client, run.run_id, files.samples / f"{key}.png")
    _log_grids(mlflow_client, run.run_id, files.grids / key)
    if with_checkpoint:
        mlflow_client.log_artifacts(run.run_id, str(checkpoint), CHECKPOINT)
    mlflow_client.set_terminated(run.run_id, end_time=ended)
    return run.run_id


def log_dataset(mlflow_client: Any, run: str, manifest: Manifest, uri: str, resolution: int) -> None:
    """Log the dataset at `uri` as the training input of `run`."""
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = resolve_dataset_source(uri if "://" in uri else str(Path(uri).resolve()))
    digest = manifest.digest[:DIGEST_LENGTH]
    fields = MetaDataset(source, manifest.name, digest).to_dict()  # type: ignore[abstract]
    profile = {"images": manifest.images, "resolution": resolution, "classes": len(manifest.classes)}
    tags = [InputTag("mlflow.data.context", "training"), InputTag("digest", manifest.digest)]
    mlflow_client.log_inputs(run, [DatasetInput(Dataset(**fields, profile=json.dumps(profile)), tags)])


def set_description(mlflow_client: Any, run: str, text: str) -> None:
    """Set the description of a run (Markdown)."""
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    mlflow_client.set_tag(run, MLFLOW_RUN_NOTE, text)


def _log_samples(mlflow_client: Any, run: str, samples: Path) -> None:
    """Reals beside fakes, in full size and as a preview."""
    with TemporaryDirectory() as folder, Image.open(samples) as picture:
        shutil.copy(samples, Path(folder) / SAMPLES)
        picture.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
        write_png(Path(folder) / PREVIEW, picture)
        mlflow_client.log_artifacts(run, folder)


def _log_grids(mlflow_client: Any, run: str, folder: Path) -> None:
    """The images during training, at kimg since the phase began: MLflow's slider shows step 0 first."""
    files = sorted(folder.glob("*.png"))
    for file in files:
        with Image.open(file) as picture:
            step = round(float(file.stem) - float(files[0].stem))
            mlflow_client.log_image(run, picture, key=PICTURE_KEY, step=step)


def _log_metrics(mlflow_client: Any, run: str, metrics: list[Any]) -> None:
    """MLflow itself ignores those that exist with the same time and step."""
    for first in range(0, len(metrics), METRICS_PER_REQUEST):
        mlflow_client.log_batch(run, metrics=metrics[first : first + METRICS_PER_REQUEST])


def _log_params(mlflow_client: Any, run: str, values: dict[str, Any]) -> None:
    """Log the parameters that the run does not have yet; MLflow does not allow changes."""
    from mlflow.entities import Param

    existing = mlflow_client.get_run(run).data.params
    texts = {
        name: canonical_json(value) if isinstance(value, dict) else str(value)
        for name, value in values.items()
        if name not in existing
    }
    mlflow_client.log_batch(run, params=[Param(name, text) for name, text in texts.items()])
