"""The MLflow runs of a training run: a parent, and a child for each phase with its curves."""

import csv
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.gate.stage import flat_measures
from progan.config import Config
from progan.files import read_json

RUN_KEY = "progan.fingerprint"  # the tag by which a run that was interrupted is found again
CURVES = (
    *("d_loss", "g_loss", "real_score", "fake_score", "gradient_norm", "alpha", "learning_rate", "minibatch"),
    *("images_per_second", "seconds", "skipped", "swd"),
)


@dataclass(frozen=True)
class RunFiles:
    """Where the stages before left what is logged; each folder holds one entry a phase."""

    checkpoint: Path  # of the phase that was judged
    history: Path
    evaluations: Path
    samples: Path
    verdict: Path

    @classmethod
    def below(cls, root: Path, checkpoint: Path) -> "RunFiles":
        """The files of a project's folder."""
        history, evaluations, samples = root / "history", root / "evaluation", root / "samples"
        return cls(checkpoint, history, evaluations, samples, root / "verdict.json")


def find_or_make_parent(mlflow_client: Any, experiment_name: str, verdict: dict[str, Any]) -> str:
    """The id of the run with this verdict's fingerprint."""
    experiment = mlflow_client.get_experiment_by_name(experiment_name)
    experiment_id = (
        experiment.experiment_id if experiment else mlflow_client.create_experiment(experiment_name)
    )
    key = verdict["candidate"]["fingerprint"]
    found = mlflow_client.search_runs([experiment_id], f"tags.`{RUN_KEY}` = '{key}'")
    if found:
        return found[0].info.run_id
    name = f"{verdict['phase']}-{key[:8]}"
    return mlflow_client.create_run(experiment_id, run_name=name, tags={RUN_KEY: key}).info.run_id


def log_parent(
    mlflow_client: Any, parent: str, config: Config, verdict: dict[str, Any], files: RunFiles
) -> None:
    """Log what all phases share, the final measures, the verdict and the final samples."""
    sections = {"network": asdict(config.network), "training": asdict(config.training)}
    params = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    measures = _metrics(verdict["candidate"], verdict["candidate"]["kimg"])
    mlflow_client.log_batch(parent, metrics=measures, params=_params(params))
    mlflow_client.log_artifact(parent, str(files.verdict))
    mlflow_client.log_artifact(parent, str(files.samples / f"{verdict['phase']}.png"))


def log_phase(mlflow_client: Any, config: Config, key: str, parent: str, files: RunFiles) -> None:
    """Log the phase `key` as a child of `parent`; one that was cut off is done anew."""
    experiment_id = mlflow_client.get_run(parent).info.experiment_id
    mine = f"tags.`mlflow.parentRunId` = '{parent}' and tags.phase = '{key}'"
    for run in mlflow_client.search_runs([experiment_id], mine):
        if run.info.status == "FINISHED":
            return
        mlflow_client.delete_run(run.info.run_id)
    tags = {"mlflow.parentRunId": parent, "phase": key}
    run_id = mlflow_client.create_run(experiment_id, run_name=key, tags=tags).info.run_id
    evaluation = flat_measures(read_json(files.evaluations / f"{key}.json"))
    mlflow_client.log_batch(
        run_id,
        params=_params(asdict(config.phase(key))),
        metrics=[*_curves(files.history / f"{key}.csv"), *_metrics(evaluation, evaluation["kimg"])],
    )
    mlflow_client.log_artifact(run_id, str(files.samples / f"{key}.png"))
    mlflow_client.set_terminated(run_id)


def _curves(history: Path) -> Iterator[Any]:
    """A phase's history as metrics. MLflow's step is the whole kimg; of several rows the last counts.

    Imported weights have no history.
    """
    if not history.exists():
        return
    with history.open(newline="") as file:
        rows = {round(float(row["kimg"])): row for row in csv.DictReader(file)}
    for kimg, row in rows.items():
        yield from _metrics({name: float(row[name]) for name in CURVES if row[name] != ""}, kimg)


def _metrics(values: dict[str, Any], kimg: float) -> list[Any]:
    """The numbers among `values` that are finite: MLflow would store infinity as something else."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [
        Metric(name, float(value), now, round(kimg))
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]


def _params(values: dict[str, Any]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(name, str(value)) for name, value in values.items()]
