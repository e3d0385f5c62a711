"""Charts as inline SVG, which takes its colours from the page, light or dark."""

import io
from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from progan.history import History, Row

# The colours that matplotlib draws with, and the page's colours that replace them.
INK, SHADE, SERIES = "#010203", "#010204", ("#010205", "#010206")
PAGE_COLOURS = {
    INK: "currentColor",
    SHADE: "var(--shade)",
    SERIES[0]: "var(--series-1)",
    SERIES[1]: "var(--series-2)",
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
INCHES = (5.0, 2.7)
LABEL_SHARE = 0.06  # of the width: a narrower phase has no label, for lack of room


def over_kimg(
    phases: Mapping[str, History], columns: Mapping[str, str], title: str, unit: str, log: bool = False
) -> Markup:
    """Columns of the history over kimg, phase by phase, with fades shaded; empty if there are no numbers.

    phases: the histories by the labels above them. columns: the legend's text by the name of the column.
    """
    phase_rows = {label: history.rows for label, history in phases.items()}
    if not any(_points(rows, name) for rows in phase_rows.values() for name in columns):
        return Markup()

    def draw(axes: Any) -> None:
        for name, colour in zip(columns, SERIES, strict=False):
            for label, rows in zip_longest([columns[name]], phase_rows.values()):
                points = _points(rows, name)
                marker = "o" if 0 < len(points) < 10 else ""
                axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=3, label=label)
        _mark_phases(axes, phase_rows)
        axes.set_xlabel("kimg: thousands of real images shown")
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(ScalarFormatter())
            axes.yaxis.set_minor_formatter(NullFormatter())
        if len(columns) > 1:
            axes.figure.legend(loc="outside upper right", ncols=2)

    return _svg(draw, title, unit)


def by_level(generated: Mapping[str, float], reals: Mapping[str, float], title: str, unit: str) -> Markup:
    """A pair of bars for each level, coarse to fine: generated images and real images."""
    levels = list(generated)

    def draw(axes: Any) -> None:
        for values, label, colour, shift in (
            (generated, "generated images", SERIES[0], -0.2),
            (reals, "real images: the noise floor", SERIES[1], 0.2),
        ):
            bars = axes.bar(
                [position + shift for position in range(len(levels))],
                [values[level] for level in levels],
                0.36,
                color=colour,
                label=label,
            )
            axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
        axes.set_xticks(range(len(levels)), levels)
        axes.set_xlabel("level of detail: side of the image in pixels")
        axes.margins(y=0.1)
        axes.figure.legend(loc="outside upper right", ncols=2)

    return _svg(draw, title, unit)


def _points(rows: tuple[Row, ...], name: str) -> list[tuple[float, float]]:
    return [(row.kimg, value) for row in rows if (value := getattr(row, name)) is not None]


def _mark_phases(axes: Any, phases: Mapping[str, tuple[Row, ...]]) -> None:
    """Shade the fades and mark the beginning of each phase, with its label above if there is room."""
    first, last = next(iter(phases.values()))[0].kimg, list(phases.values())[-1][-1].kimg
    for name, rows in phases.items():
        begin, end = rows[0].kimg, rows[-1].kimg
        stable = next((row.kimg for row in rows if row.alpha == 1), end)
        axes.axvspan(begin, stable, color=SHADE, linewidth=0)
        axes.axvline(begin, color=INK, linestyle=":", linewidth=0.7)
        if end - begin >= LABEL_SHARE * (last - first):
            axes.text(
                (begin + end) / 2, 1.02, name, transform=axes.get_xaxis_transform(), ha="center", fontsize=8
            )
    axes.set_xlim(first, last)


def _svg(draw: Callable[[Any], None], title: str, unit: str) -> Markup:
    """An element <svg> with axes on which `draw` draws; `title` is for screen readers."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=INCHES, layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.set_ylabel(unit)
        output = io.StringIO()
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(output, format="svg", transparent=True, metadata=no_metadata)
    width, height = (72 * side for side in INCHES)
    start = f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {width:g} {height:g}">'
    svg = start + output.getvalue().partition("<svg")[2].partition(">")[2]
    for colour, page_colour in PAGE_COLOURS.items():
        svg = svg.replace(colour, page_colour)
    return Markup(svg)
