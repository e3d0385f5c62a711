"""A phase's history, read again: curves for MLflow, and what training cost."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CURVES = (
    *("d_loss", "g_loss", "real_score", "fake_score", "gradient_norm", "alpha"),
    *("images_per_second", "skipped", "swd"),
)
READINGS = ("gpu_percent", "gpu_memory_gib", "cpu_percent", "memory_gib")  # MLflow's "System metrics"
METRICS = {name: f"curves/{name}" for name in CURVES} | {name: f"system/{name}" for name in READINGS}


@dataclass(frozen=True)
class History:
    """The rows of a phase as they stand in its file; none where weights were imported."""

    rows: list[dict[str, str]]

    @classmethod
    def read(cls, file: Path) -> "History":
        if not file.exists():
            return cls([])
        with file.open(newline="") as opened:
            return cls(list(csv.DictReader(opened)))

    @property
    def began(self) -> int | None:
        """When training began, in milliseconds since 1970; None where nobody noted it."""
        return _milliseconds(self.rows[0]) if self.rows else None

    @property
    def ended(self) -> int | None:
        return _milliseconds(self.rows[-1]) if self.rows else None

    @property
    def seconds(self) -> float:
        """Of training, without the time between an interruption and going on."""
        return float(self.rows[-1]["seconds"]) if self.rows else 0.0

    @property
    def kimg(self) -> float:
        """Shown in this phase alone."""
        return float(self.rows[-1]["images"]) / 1000 if self.rows else 0.0

    @property
    def gpus(self) -> int:
        return int(self.rows[-1].get("gpus") or 0) if self.rows else 0

    @property
    def machine(self) -> str:
        """What it trained on: "CPU", "2 × NVIDIA H100"; empty where nobody noted it."""
        device = self.rows[-1].get("device") or "" if self.rows else ""
        return f"{self.gpus} × {device}" if self.gpus else device

    def metrics(self, otherwise: int) -> list[Any]:
        """The finite numbers as MLflow's metrics, at whole kimg; of several rows the last with one counts.

        otherwise: the time of rows that have none.
        """
        from mlflow.entities import Metric

        last = {
            (name, round(float(row["kimg"]))): (float(row[name]), _milliseconds(row) or otherwise)
            for row in self.rows
            for name in METRICS
            if row.get(name)
        }
        return [
            Metric(METRICS[name], value, time, kimg)
            for (name, kimg), (value, time) in last.items()
            if math.isfinite(value)
        ]


def _milliseconds(row: dict[str, str]) -> int | None:
    return round(float(row["time"]) * 1000) if row.get("time") else None
