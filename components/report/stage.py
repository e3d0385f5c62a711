"""The report of a run: one self-contained HTML file, and tables for DVC."""

import csv
import io
import platform
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from components.commit import git_commit
from components.evaluate.evaluation import Evaluation
from components.evaluate.measures import MEASURES, Measure, Values, measures_in, swd_level, swd_levels
from components.evaluate.samples import classes_shown
from components.gate.verdict import Verdict
from components.page import embedded, template
from components.register.registration import Registration
from components.report import charts, tables
from components.train.live_state import PhaseRecord, read_record, record_names
from progan import __version__
from progan.config import Config
from progan.dataset.manifest import MANIFEST_NAME
from progan.dataset.reader import load_manifest
from progan.errors import InputError
from progan.files import atomic_file, atomic_folder, write_json
from progan.history import History, Total
from progan.render import apart

TRAINING_COLUMNS = ("phase", "kimg", "alpha", "d_loss", "g_loss", "gradient_norm", "images_per_second")
PIXELS_AS_PNG = 2**20  # larger pictures are embedded as WebP


@dataclass(frozen=True)
class ReportFiles:
    """The inputs and outputs of `report`, by their names in dvc.yaml; folders have one entry per phase."""

    dataset: Path
    history: Path
    evaluation: Path
    samples: Path
    verdict: Path
    registration: Path
    report: Path


def report(
    config: Config, files: ReportFiles, failure: str | None = None, snapshots: str | None = None
) -> None:
    """Write report.html, and the tables for `dvc plots` and `dvc metrics`, to the folder `files.report`.

    Missing parts are left out: the run may have failed (`failure` says how), or its weights may have been
    imported, without a history. Of a phase in training, the live record beside its snapshots is shown.
    """
    out = files.report
    histories = {key: History.read(files.history / f"{key}.csv") for key in config.phases}
    histories = {key: history for key, history in histories.items() if history.rows}
    evaluations = {
        key: Evaluation.read(path)
        for key in config.phases
        if (path := files.evaluation / f"{key}.json").exists()
    }
    unfinished = _unfinished(config, histories, evaluations, snapshots) if snapshots else None
    if unfinished:
        histories[unfinished.live.phase] = unfinished.history
    _write_tables(out, histories, evaluations)
    phases = [
        _phase(config, key, files, histories.get(key), evaluations.get(key))
        for key in config.phases
        if key in histories or key in evaluations
    ]
    final = next((phase for phase in reversed(phases) if phase["evaluation"]), None)
    page = template("report/report.html").render(
        note=_note,
        config=config,
        failure=failure,
        unfinished=unfinished and _standing(unfinished),
        verdict=Verdict.read(files.verdict) if files.verdict.exists() else None,
        registration=Registration.read(files.registration) if files.registration.exists() else None,
        manifest=load_manifest(files.dataset) if (files.dataset / MANIFEST_NAME).exists() else None,
        phases=phases,
        final=final,
        measured=tables.of_measures(evaluations, measures_in(each.measures for each in evaluations.values())),
        figures=[row for row in MEASURES if final and row.name in final["evaluation"].measures],
        levels_chart=_levels_chart(final["evaluation"].measures) if final else "",
        curves=_curves(config, histories),
        trained=tables.of_training(config, histories),
        total=Total.of(histories.values()) if histories else None,
        commit=git_commit(),
        versions={"progan": __version__, "torch": version("torch"), "Python": platform.python_version()},
        params=yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True, width=100),
    )
    with atomic_file(out / "report.html") as beside:
        beside.write_text(page)
    print(f"{out / 'report.html'}: written")


def _unfinished(
    config: Config,
    histories: Mapping[str, History],
    evaluations: Mapping[str, Evaluation],
    snapshots: str,
) -> PhaseRecord | None:
    """The newest live record of the first phase without results; None if it has not begun since the last."""
    keys = list(config.phases)
    key = next((key for key in keys if key not in histories and key not in evaluations), None)
    if key is None:
        return None
    begun = max((history.ended or 0.0 for history in histories.values()), default=0.0)
    names = [name for name in record_names(snapshots) if name.startswith(f"{key}-")]
    records = [record for name in names if (record := read_record(snapshots, name))]
    newest = max(records, key=lambda record: record.live.updated, default=None)
    return newest if newest and newest.live.updated >= begun else None


def _standing(record: PhaseRecord) -> dict[str, Any]:
    """The template's values for a phase that is not finished."""
    grid, live = record.grid, record.live
    with Image.open(io.BytesIO(grid)) if grid else nullcontext() as picture:
        return {
            "line": live.line,
            "as_of": f"{datetime.fromtimestamp(live.updated, UTC):%Y-%m-%d %H:%M} UTC",
            "problems": live.problems,
            "picture": picture and _embedded(picture),
        }


def _write_tables(out: Path, histories: Mapping[str, History], evaluations: Mapping[str, Evaluation]) -> None:
    """training.csv and swd.csv for `dvc plots`, and the measures of each phase for `dvc metrics`."""
    rows = [{"phase": key} | row.columns for key, history in histories.items() for row in history.rows]
    _write_csv(out / "training.csv", TRAINING_COLUMNS, [row for row in rows if row["d_loss"] is not None])
    _write_csv(out / "swd.csv", ("phase", "kimg", "swd"), [row for row in rows if row["swd"] is not None])
    with atomic_folder(out / "metrics") as beside:
        for key, evaluation in evaluations.items():
            write_json(beside / f"{key}.json", evaluation.numbers)


def _write_csv(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    with atomic_file(path) as beside, beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _phase(
    config: Config, key: str, files: ReportFiles, history: History | None, evaluation: Evaluation | None
) -> dict[str, Any]:
    """The template's values for a phase; None for the training or the evaluation that it does not have."""
    phase: dict[str, Any] = {
        "key": key,
        "config": config.phase(key),
        "evaluation": evaluation,
        "training": history.total if history else None,
        "pictures": [],
        "classes": classes_shown(config.network, config.phase(key).resolution),
        "nearest": None,
    }
    if evaluation:
        phase["pictures"] = [_embedded(half) for half in apart(_picture(files.samples / f"{key}.png", key))]
    if (nearest := files.samples / f"{key}-nearest.png").exists():
        phase["nearest"] = _embedded(_picture(nearest, key))
    return phase


def _curves(config: Config, histories: Mapping[str, History]) -> dict[str, Any]:
    """The charts over kimg by their titles, without those that have no data."""
    if not histories:
        return {}
    labelled = {str(config.phase(key).resolution): history for key, history in histories.items()}
    curves = {
        title: charts.over_kimg(labelled, columns, title, unit, log)
        for title, columns, unit, log in (
            ("Sliced Wasserstein distance", {"swd": "SWD"}, "SWD × 1000", False),
            ("Losses", {"d_loss": "discriminator", "g_loss": "generator"}, "loss", False),
            ("Gradient norm", {"gradient_norm": "gradient norm"}, "‖∇D‖", False),
            ("Speed", {"images_per_second": "images per second"}, "images / s", True),
        )
    }
    return {title: chart for title, chart in curves.items() if chart}


def _levels_chart(measures: Values) -> Any:
    rows = {side: swd_level(side) for side in swd_levels(measures)}
    generated = {str(side): measures[row.name] or 0.0 for side, row in rows.items()}
    reals = {str(side): measures.get(str(row.reals)) or 0.0 for side, row in rows.items()}
    return charts.by_level(generated, reals, "SWD by level of detail", "SWD × 1000")


def _picture(path: Path, key: str) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except OSError:
        raise InputError(
            f"{path}: missing or damaged; run dvc repro evaluate@{key}, then this again"
        ) from None


def _embedded(picture: Image.Image) -> str:
    return embedded(picture, lossless=picture.width * picture.height <= PIXELS_AS_PNG)


def _note(measure: Measure, evaluation: Evaluation) -> str:
    """The note below a value: that of real images, its deviation, or which values are good."""
    measures = evaluation.measures
    if evaluation.score_at_chance and measure.limit == "score_min":
        return "means nothing: the classifier is no better than chance"
    if measure.reals and measure.reals in measures:
        return f"{measure.reals_title} {measure.text(measures[measure.reals])}"
    if measure.spread in measures:
        return f"± {measure.text(measures[measure.spread])}"
    return measure.reading
