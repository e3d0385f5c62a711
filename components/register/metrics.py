"""The metrics of a run in MLflow: curves of training, readings of the machine, and measures."""

import math
from typing import Any

from components.evaluate.evaluation import Evaluation
from progan.history import History

CURVES = (
    *("d_loss", "g_loss", "real_score", "fake_score", "gradient_norm", "alpha"),
    *("images_per_second", "skipped", "swd"),
)
READINGS = ("gpu_percent", "gpu_memory_gib", "cpu_percent", "memory_gib")  # MLflow's "System metrics"
METRICS = {name: f"curves/{name}" for name in CURVES} | {name: f"system/{name}" for name in READINGS}


def curves(history: History, default_time: int) -> list[Any]:
    """The finite numbers of a history, the last one for each whole kimg.

    default_time: of rows without a time, in milliseconds since 1970.
    """
    from mlflow.entities import Metric

    last = {}
    for row in history.rows:
        columns, time = row.columns, milliseconds(row.machine.time) or default_time
        for name in METRICS:
            if columns[name] is not None:
                last[name, round(row.kimg)] = float(columns[name]), time
    return [
        Metric(METRICS[name], value, time, kimg)
        for (name, kimg), (value, time) in last.items()
        if math.isfinite(value)
    ]


def measures(evaluation: Evaluation, time: int) -> list[Any]:
    """The measures; MLflow's page shows a section for the part of the name before the slash.

    time: of the evaluation, in milliseconds since 1970.
    """
    from mlflow.entities import Metric

    return [
        Metric(f"measures/{name}", value, time, round(evaluation.kimg))
        for name, value in evaluation.measures.items()
        if value is not None
    ]


def milliseconds(seconds: float | None) -> int | None:
    """A time in MLflow's unit."""
    return None if seconds is None else round(seconds * 1000)
