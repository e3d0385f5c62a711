"""The tables of the report: rows of texts by the headings of their columns."""

from collections.abc import Iterable, Mapping

from components.evaluate.evaluation import Evaluation
from components.evaluate.measures import Measure, Values, number
from progan.config import Config
from progan.history import History, Total
from progan.progress import duration

Row = dict[str, str]


def of_measures(evaluations: Mapping[str, Evaluation], measures: Iterable[Measure]) -> list[Row]:
    """A row for each phase; after a slash, the same measure between real images."""
    measures = tuple(measures)
    return [
        {"phase": key, "kimg": number(evaluation.kimg, 1)}
        | {measure.title: _with_reals(measure, evaluation.measures) for measure in measures}
        for key, evaluation in evaluations.items()
    ]


def _with_reals(measure: Measure, values: Values) -> str:
    names = (measure.name, measure.reals)
    return " / ".join(measure.text(values[name]) for name in names if name and name in values)


def of_training(config: Config, histories: Mapping[str, History]) -> list[Row]:
    """What the training of each phase took and, last, all of it; without columns that nobody noted."""
    total, rows = Total.of(histories.values()), []
    for key, history in histories.items():
        phase = config.phase(key)
        length = f"{phase.fade_kimg:g} + {phase.stable_kimg:g}"
        settings = {"minibatch": f"{phase.minibatch}", "learning rate": f"{phase.learning_rate}"}
        rows.append(_took(key, length, history.total) | settings)
    rows.append(
        _took("all", number(total.kimg, 1), total) | {"device": "", "minibatch": "", "learning rate": ""}
    )
    known = {
        "device": total.devices,
        "GPU hours": total.gpu_seconds,
        "price": total.price,
        "skipped updates": total.skipped,
    }
    return [{name: text for name, text in row.items() if known.get(name, True)} for row in rows]


def _took(name: str, length: str, total: Total) -> Row:
    return {
        "phase": name,
        "fade + stable kimg": length,
        "images / s": number(total.images / total.seconds if total.seconds else None, 0),
        "time": duration(total.seconds),
        "device": ", ".join(total.devices),
        "GPU hours": number(total.gpu_seconds / 3600, 2),
        "price": total.price or "–",
        "skipped updates": f"{total.skipped}",
    }
