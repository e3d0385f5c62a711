"""The report: what a run made, in one HTML file that needs nothing beside it."""

import base64
import csv
import io
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, select_autoescape

from progan import __version__
from progan.config import Config
from progan.dataset.manifest import MANIFEST_NAME
from progan.files import atomic_file, read_json
from progan.progress import duration

TRAINING_COLUMNS = ("phase", "kimg", "alpha", "d_loss", "g_loss", "gradient_norm", "images_per_second")
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class ReportFiles:
    """Where the stages before left what is reported."""

    history: Path
    evaluations: Path
    samples: Path
    verdict: Path
    registration: Path
    dataset: Path

    @classmethod
    def below(cls, root: Path, dataset: Path) -> "ReportFiles":
        """The files of a project's folder."""
        history, evaluations, samples = root / "history", root / "evaluation", root / "samples"
        verdict, registration = root / "verdict.json", root / "registration.json"
        return cls(history, evaluations, samples, verdict, registration, dataset)


def report(config: Config, files: ReportFiles, out: Path, failure: str | None = None) -> None:
    """Write report.html, training.csv and swd.csv into the folder `out`.

    A run that was stopped or failed (`failure` says how) is reported as far as it came.
    """
    history = [row for key in config.phases for row in _history(files.history / f"{key}.csv", key)]
    _write_csv(out / "training.csv", TRAINING_COLUMNS, [row for row in history if row["d_loss"] is not None])
    _write_csv(out / "swd.csv", ("phase", "kimg", "swd"), [row for row in history if row["swd"] is not None])
    trained = list(dict.fromkeys(row["phase"] for row in history))
    evaluated = [key for key in trained if (files.evaluations / f"{key}.json").exists()]
    page = _template().render(
        config=config,
        failure=failure,
        verdict=_read_if_there(files.verdict),
        registration=_read_if_there(files.registration),
        manifest=_read_if_there(files.dataset / MANIFEST_NAME),
        phases=[_phase(config, key, files, history) for key in evaluated],
        curves=[_curve(history, ("d_loss", "g_loss"), "loss"), _curve(history, ("swd",), "SWD × 1000")],
        seconds=duration(sum(_seconds(history, key) for key in trained)),
        environment={
            "progan": __version__,
            "torch": torch.__version__,
            "Python": platform.python_version(),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        },
    )
    with atomic_file(out / "report.html") as beside:
        beside.write_text(page)
    print(f"{out / 'report.html'}: written")


def _read_if_there(path: Path) -> Any:
    return read_json(path) if path.exists() else None


def _history(path: Path, key: str) -> Rows:
    """The rows of a phase; none when it was not trained."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {"phase": key, "device": row.pop("device", None)}
        | {name: float(text) if text else None for name, text in row.items()}
        for row in rows
    ]


def _write_csv(path: Path, columns: tuple[str, ...], rows: Rows) -> None:
    with atomic_file(path) as beside, beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _seconds(history: Rows, key: str) -> float:
    return max(row["seconds"] for row in history if row["phase"] == key)


def _phase(config: Config, key: str, files: ReportFiles, history: Rows) -> dict[str, Any]:
    """What the report says of one phase."""
    rows = [row for row in history if row["phase"] == key]
    measured = [row["swd"] for row in rows if row["swd"] is not None]
    seconds = _seconds(history, key)
    return {
        "key": key,
        "config": config.phase(key),
        "evaluation": read_json(files.evaluations / f"{key}.json"),
        "swd_start": measured[0],
        "swd_end": measured[-1],
        "skipped": int(rows[-1]["skipped"]),
        "duration": duration(seconds),
        "rate": rows[-1]["images"] / seconds,
        "picture": _embedded("image/png", (files.samples / f"{key}.png").read_bytes()),
    }


def _curve(history: Rows, names: tuple[str, ...], label: str) -> str:
    """A line chart of columns over kimg as a data URI; a dotted line where a phase begins."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    for name in names:
        rows = [row for row in history if row[name] is not None]
        axes.plot([row["kimg"] for row in rows], [row[name] for row in rows], label=name, linewidth=1.2)
    for key in dict.fromkeys(row["phase"] for row in history):
        start = min(row["kimg"] for row in history if row["phase"] == key)
        axes.axvline(start, color="grey", linestyle=":", linewidth=0.8)
        axes.annotate(
            key, (start, 1), xycoords=("data", "axes fraction"), fontsize=7, color="grey", va="bottom"
        )
    axes.set_xlabel("kimg")
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    if len(names) > 1:
        axes.legend(frameon=False, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _embedded("image/svg+xml", buffer.getvalue())


def _embedded(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _number(value: float | None, digits: int) -> str:
    """A measure for the tables; a dash where it was no finite number."""
    return "–" if value is None else f"{value:.{digits}f}"


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("components.report", "."),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
    )
    environment.filters["number"] = _number
    return environment.get_template("report.html")
