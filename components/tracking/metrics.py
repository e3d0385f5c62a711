"""The metrics of a run in MLflow: curves of training, readings of the machine, and measures.

Their steps are images shown since the first phase began, as MLflow's steps are whole numbers.
"""

import math
from collections.abc import Iterable
from typing import Any

from components.evaluate.evaluation import Evaluation
from progan.history import Row

CURVES = (
    *("d_loss", "g_loss", "real_score", "fake_score", "gradient_norm", "alpha"),
    *("images_per_second", "skipped", "swd"),
)
READINGS = ("gpu_percent", "gpu_memory_gib", "cpu_percent", "memory_gib")  # MLflow's "System metrics"
METRICS = {name: f"curves/{name}" for name in CURVES} | {name: f"system/{name}" for name in READINGS}


def curves(rows: Iterable[Row], default_time: int) -> list[Any]:
    """The finite numbers of these rows of a history.

    default_time: of rows without a time, in milliseconds since 1970.
    """
    from mlflow.entities import Metric

    return [
        Metric(METRICS[name], float(value), milliseconds(row.machine.time) or default_time, step(row.kimg))
        for row in rows
        for name, value in row.columns.items()
        if name in METRICS and value is not None and math.isfinite(value)
    ]


def measures(evaluation: Evaluation, time: int) -> list[Any]:
    """The measures; MLflow's page shows a section for the part of the name before the slash.

    time: of the evaluation, in milliseconds since 1970.
    """
    from mlflow.entities import Metric

    return [
        Metric(f"measures/{name}", value, time, step(evaluation.kimg))
        for name, value in evaluation.measures.items()
        if value is not None
    ]


def step(kimg: float) -> int:
    """MLflow's step: the number of images."""
    return round(1000 * kimg)


def milliseconds(seconds: float | None) -> int | None:
    """A time in MLflow's unit."""
    return None if seconds is None else round(seconds * 1000)
