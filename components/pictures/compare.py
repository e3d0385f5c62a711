"""Compare generators on one HTML page: images of the same seeds, measures, and parameters that differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from components.evaluate.measures import Measure, Values, best_of, measures_in
from components.page import embedded, template
from components.pictures.records import Record, record_of
from components.pictures.sources import inputs_of, on_best_device
from components.tracking.runs import flat
from progan.errors import InputError
from progan.files import atomic_file
from progan.progress import Advance, show_progress
from progan.render import picture
from progan.sampling import Sampler, label_of

LARGEST_PNG = 128  # pixels; larger images are embedded as WebP
MOST_IMAGES = 2000
ABSENT = "–"


@dataclass(frozen=True)
class Cell:
    """A value of one generator in a row."""

    text: str
    beside: str = ""  # the same between real images
    best: bool = False


@dataclass(frozen=True)
class Row:
    """Values of all generators."""

    title: str
    reading: str
    cells: tuple[Cell, ...]


def compare(addresses: Sequence[str], seeds: Sequence[int], label: str | None, out: Path) -> None:
    """Write the page `out` about the generators at `addresses`: see `components.pictures.sources`.

    label: the class to show, by name or number; None for all classes.
    """
    if out.suffix != ".html":
        raise InputError(f"--out: {out}: a file name that ends with .html is expected")
    if len(addresses) < 2:
        raise InputError(f"{''.join(addresses)}: name at least two generators to compare")
    records = [record_of(address) for address in addresses]
    with show_progress("compare", "images") as advance:
        html = comparison(records, seeds, _classes(records, label), advance)
    with atomic_file(out) as partial:
        partial.write_text(html)
    print(f"{out}: {', '.join(record.name for record in records)}")


def comparison(
    records: Sequence[Record], seeds: Sequence[int], classes: Sequence[str | None], advance: Advance
) -> str:
    """The page: a column for each record, a row for each seed of each class; [None] without classes."""
    total = len(records) * len(seeds) * len(classes)
    if total > MOST_IMAGES:
        raise InputError(
            f"{total:,} images: a page holds at most {MOST_IMAGES:,}; choose fewer --seeds, or a --label"
        )
    advance(0, total)
    columns = []
    for number, record in enumerate(records, 1):
        columns.append(_images(record, seeds, classes))
        advance(number * total // len(records), total)
    groups = [
        (name, [[column[name][row] for column in columns] for row in range(len(seeds))]) for name in classes
    ]
    same_images = len({record.facts.dataset.digest for record in records}) == 1
    return template("pictures/compare.html").render(
        names=_names(records),
        records=records,
        seeds=seeds,
        groups=groups,
        same_images=same_images,
        measures=_measure_rows(records, same_images),
        differences=_differences(records),
    )


def classes_of(records: Sequence[Record]) -> list[str]:
    """The names of all classes, those of the first record first."""
    return list(dict.fromkeys(name for record in records for name in record.facts.classes))


def _classes(records: Sequence[Record], label: str | None) -> Sequence[str | None]:
    names = classes_of(records)
    if label is None:
        return names or [None]
    number = label_of(label, names)
    return [names[number]]


def _names(records: Sequence[Record]) -> list[str]:
    """Short names of columns: of versions, without the model if all have the same."""
    one_model = len({record.model for record in records}) == 1
    return [
        f"{'' if one_model else record.model} version {record.version}".strip()
        if record.version
        else record.name
        for record in records
    ]


# ------------------------------------------------------------------------------------------------
# Images


def _images(
    record: Record, seeds: Sequence[int], classes: Sequence[str | None]
) -> Mapping[str | None, Sequence[str | None]]:
    """By class, the images of the seeds as data URIs; None if the generator has no such class.

    A generator without classes has the same images for each.
    """
    sampler = on_best_device(record.checkpoint)
    if not sampler.classes:
        return dict.fromkeys(classes, _embedded_images(sampler, seeds, 0))
    return {
        name: _embedded_images(sampler, seeds, sampler.classes.index(name))
        if name in sampler.classes
        else [None] * len(seeds)
        for name in classes
    }


def _embedded_images(sampler: Sampler, seeds: Sequence[int], label: int) -> list[str]:
    images = torch.cat(list(sampler.images(*inputs_of(sampler, seeds, [label]))))
    return [embedded(picture(image), lossless=sampler.resolution <= LARGEST_PNG) for image in images]


# ------------------------------------------------------------------------------------------------
# Tables


def _measure_rows(records: Sequence[Record], comparable: bool) -> list[Row]:
    """The measures that any of them has; the best of each row is marked if they are `comparable`."""
    values = [record.measures for record in records]
    rows = []
    for measure in measures_in(values):
        best = best_of(measure, values) if comparable else set()
        cells = [
            Cell(measure.text(each.get(measure.name)), _between_reals(measure, each), index in best)
            for index, each in enumerate(values)
        ]
        rows.append(Row(measure.title, measure.reading, tuple(cells)))
    return rows


def _between_reals(measure: Measure, values: Values) -> str:
    return measure.text(values[measure.reals]) if measure.reals and measure.reals in values else ""


def _differences(records: Sequence[Record]) -> list[Row]:
    """The parameters that differ, in the order of params.yaml, by dotted names."""
    params = [dict(flat(record.params)) for record in records]
    names = dict.fromkeys(name for each in params for name in each)
    rows = []
    for name in names:
        texts = [each.get(name, ABSENT) for each in params]
        known = {text for text, record in zip(texts, records, strict=True) if record.knows(name)}
        if len(known) > 1:
            rows.append(Row(name, "", tuple(Cell(text) for text in texts)))
    return rows
