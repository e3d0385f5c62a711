"""The MLflow runs of a training run: a parent with all of it, and a child for each phase."""

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
from components.register.registry import CHECKPOINT, phase_runs, who
from progan.config import Config
from progan.dataset.manifest import Manifest
from progan.files import canonical_json
from progan.history import History
from progan.render import write_png

RUN_KEY = "progan.identity"  # the tag by which a run that was interrupted is found again
SAMPLES, PREVIEW = "samples.png", "preview.png"  # artifacts: reals beside fakes; and no wider than a page
PICTURE_KEY = "curves/same latents"  # pictures over training, with a slider
PREVIEW_PIXELS = 830  # across the page of a version, beside MLflow's panels
AT_ONCE = 500  # metrics in a request
DIGEST_LENGTH = 36  # of a dataset's, as much as MLflow's database holds


@dataclass(frozen=True)
class RunFiles:
    """What `register` reads and makes, by dvc.yaml's names; folders of the phases hold one entry each."""

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


def find_or_make_parent(
    mlflow_client: Any, config: Config, verdict: Verdict, files: RunFiles, commit: str
) -> str:
    """The id of the run whose last phase has this verdict's identity."""
    name = config.register.model
    experiment = mlflow_client.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment else mlflow_client.create_experiment(name)
    key = verdict.candidate.identity
    found = mlflow_client.search_runs([experiment_id], f"tags.`{RUN_KEY}` = '{key}'")
    if found:
        return found[0].info.run_id
    began = next((began for phase in config.phases if (began := files.history_of(phase).began)), None)
    tags = {RUN_KEY: key, "mlflow.source.git.commit": commit, **_origin()}
    made = mlflow_client.create_run(experiment_id, milliseconds(began), tags, f"{verdict.phase}-{key[:8]}")
    return made.info.run_id


def _origin() -> dict[str, str]:
    """What MLflow's pages say a run was made by."""
    return {"mlflow.source.name": "progan", "mlflow.user": who()}


def log_parent(mlflow_client: Any, parent: str, config: Config, verdict: Verdict, files: RunFiles) -> None:
    """Log what all phases share, the curves of all, the final measures, the verdict and the final samples.

    Of what was logged before, only a measure that was taken anew is logged again, with a time of its own:
    MLflow's registration breaks on two values of one time. The curves stay those of the machine that was
    first: another that trained the same had other times and speeds.
    """
    sections = {"network": asdict(config.network), "training": asdict(config.training)}
    params = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    _log_params(mlflow_client, parent, params)
    run = mlflow_client.get_run(parent)
    started, keys = run.info.start_time, () if run.info.status == "FINISHED" else config.phases
    of_training = [metric for key in keys for metric in curves(files.history_of(key), started)]
    taken = measures(verdict.candidate, round(time.time() * 1000))
    changed = [measure for measure in taken if run.data.metrics.get(measure.key) != measure.value]
    _log_metrics(mlflow_client, parent, [*of_training, *changed])
    mlflow_client.log_artifact(parent, str(files.verdict))
    mlflow_client.log_text(parent, yaml.safe_dump(asdict(config), sort_keys=False), "params.yaml")
    _log_samples(mlflow_client, parent, files.samples / f"{verdict.phase}.png")


def log_phase(mlflow_client: Any, config: Config, key: str, parent: str, files: RunFiles, keep: bool) -> str:
    """Log the phase `key` as a child of `parent`, with its checkpoint if it is to `keep` it; the child's id.

    A child that was cut off, or lacks its checkpoint, is done anew.
    """
    experiment_id = mlflow_client.get_run(parent).info.experiment_id
    checkpoint, history = files.checkpoints / key, files.history_of(key)
    keep = keep and checkpoint.exists()
    for run in phase_runs(mlflow_client, parent, key):
        kept = keep and mlflow_client.list_artifacts(run.info.run_id, CHECKPOINT)
        if run.info.status == "FINISHED" and (kept or not keep):
            return run.info.run_id
        mlflow_client.delete_run(run.info.run_id)
    tags = {"mlflow.parentRunId": parent, "phase": key, **_origin()}
    began, ended = milliseconds(history.began), milliseconds(history.ended)
    run = mlflow_client.create_run(experiment_id, began, tags, key).info
    _log_params(mlflow_client, run.run_id, asdict(config.phase(key)))
    taken = measures(files.evaluation_of(key), ended or run.start_time)
    _log_metrics(mlflow_client, run.run_id, [*curves(history, run.start_time), *taken])
    _log_samples(mlflow_client, run.run_id, files.samples / f"{key}.png")
    _log_grids(mlflow_client, run.run_id, files.grids / key)
    if keep:
        mlflow_client.log_artifacts(run.run_id, str(checkpoint), CHECKPOINT)
    mlflow_client.set_terminated(run.run_id, end_time=ended)
    return run.run_id


def log_dataset(mlflow_client: Any, run: str, manifest: Manifest, uri: str, resolution: int) -> None:
    """Say what `run` was trained with, as one of MLflow's datasets."""
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = resolve_dataset_source(uri if "://" in uri else str(Path(uri).resolve()))
    named = manifest.name, manifest.digest[:DIGEST_LENGTH]
    described = MetaDataset(source, *named).to_dict()  # type: ignore[abstract]
    profile = {"images": manifest.images, "resolution": resolution, "classes": len(manifest.classes)}
    tags = [InputTag("mlflow.data.context", "training"), InputTag("digest", manifest.digest)]
    mlflow_client.log_inputs(run, [DatasetInput(Dataset(**described, profile=json.dumps(profile)), tags)])


def describe_run(mlflow_client: Any, run: str, text: str) -> None:
    """Set the description of a run (Markdown)."""
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    mlflow_client.set_tag(run, MLFLOW_RUN_NOTE, text)


def _log_samples(mlflow_client: Any, run: str, samples: Path) -> None:
    """Reals beside fakes, as they are and as a preview."""
    with TemporaryDirectory() as folder, Image.open(samples) as picture:
        shutil.copy(samples, Path(folder) / SAMPLES)
        picture.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
        write_png(Path(folder) / PREVIEW, picture)
        mlflow_client.log_artifacts(run, folder)


def _log_grids(mlflow_client: Any, run: str, folder: Path) -> None:
    """The pictures over training, counted from the phase's begin: MLflow's slider shows step 0 first."""
    files = sorted(folder.glob("*.png"))
    for file in files:
        with Image.open(file) as picture:
            step = round(float(file.stem) - float(files[0].stem))
            mlflow_client.log_image(run, picture, key=PICTURE_KEY, step=step)


def _log_metrics(mlflow_client: Any, run: str, metrics: list[Any]) -> None:
    """Those that are there already, with the same time and step, are not made again."""
    for first in range(0, len(metrics), AT_ONCE):
        mlflow_client.log_batch(run, metrics=metrics[first : first + AT_ONCE])


def _log_params(mlflow_client: Any, run: str, values: dict[str, Any]) -> None:
    """Those that are there already stay as they were written: MLflow lets none be changed."""
    from mlflow.entities import Param

    there = mlflow_client.get_run(run).data.params
    texts = {
        name: canonical_json(value) if isinstance(value, dict) else str(value)
        for name, value in values.items()
        if name not in there
    }
    mlflow_client.log_batch(run, params=[Param(name, text) for name, text in texts.items()])
