"""A plan as a table on a terminal, as Markdown for a pull request, and as JSON."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any

from pipelines.planning.step_times import Range
from pipelines.planning.tasks import Plan, PlannedTask

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 100
STATES = {
    "cached": "cached",
    "remote": "in DVC's remote",
    "resumes": "resumes from kimg",
    "runs": "runs in full",
}
COLOURS = {"cached": "dim", "remote": "dim", "resumes": "yellow", "runs": "bold"}
TEXTS = ("task", "what happens")  # columns that are not right-aligned and never left out
OPTIONAL = ("steps", "disk", "images")  # columns that a narrow terminal leaves out, the first one first
MAX_REASONS = 3  # shown for the same tasks


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan with its totals."""
    tasks = [asdict(task) for task in plan.tasks]
    totals = {
        "to_do": len(plan.to_do),
        "to_pull": len(plan.to_pull),
        "hours": asdict(plan.hours),
        "certain_hours": asdict(plan.certain_hours),
        "price": asdict(plan.price),
        "currency": plan.currency,
        "unknown": plan.unknown,
    }
    return {"place": plan.place, "tasks": tasks, "totals": totals, "remarks": plan.remarks}


def print_plan(plan: Plan) -> None:
    """Print the table, the reasons and the summary, in 100 columns or as many as the terminal has."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False)  # a reason may hold a list: [smiling, young]
    if not console.is_terminal:
        console.width = WIDTH
    columns, unlimited = _columns(plan), console.options.update(width=10 * WIDTH)
    for name in OPTIONAL:
        if console.measure(_table(plan, columns), options=unlimited).maximum > console.width:
            columns = [column for column in columns if column != name]
    console.print(_table(plan, columns))
    for names, reason in _reasons(plan).items():
        console.print(Text.assemble((names, "bold"), f": {reason}"))
    console.print()
    head, *rest = summary(plan)
    console.print(head, style="bold")
    for line in rest:
        console.print(line)


def as_markdown(plan: Plan) -> str:
    """The summary, with table and reasons folded below it."""
    head, *rest = summary(plan)
    if not plan.to_do:
        return f"**{head}**"
    columns = _columns(plan)
    rows = [
        columns,
        ["---"] * 2 + ["---:"] * (len(columns) - 2),
        *([_cells(task)[name] for name in columns] for task in plan.tasks),
    ]
    return "\n".join(
        [
            *(f"**{head}**", "", *(f"- {line}" for line in rest), ""),
            *("<details><summary>All tasks and reasons</summary>", ""),
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            *(f"- **{names}**: {escape(reason, quote=False)}" for names, reason in _reasons(plan).items()),
            *("", "</details>"),
        ]
    )


def summary(plan: Plan) -> list[str]:
    """The totals of the work to do, line by line."""
    if not plan.to_do:
        cached = " after dvc pull" if plan.to_pull else f": all {len(plan.tasks)} tasks are cached"
        return [f"Nothing to do for {plan.place}{cached}.", *_to_pull(plan), *plan.remarks]
    hours, price = plan.hours, plan.price
    lines = [
        f"{len(plan.to_do)} of {len(plan.tasks)} tasks to do for {plan.place}",
        f"time: {_about(hours, duration)}, with everything downstream",
    ]
    if plan.ends_early and plan.certain_hours.high < hours.high:
        lines.append(
            f"time: {_about(plan.certain_hours, duration)}, if the outputs of stale tasks stay the same"
        )
    if price.high:
        amounts = _about(price, lambda *amount: f"{_price(*amount)} {plan.currency}")
        lines.append(f"price: {amounts}, for GPU hours at the profile's prices")
    if disk := sum(task.disk_gib or 0 for task in plan.to_do):
        lines.append(f"disk: {_gib(disk)}")
    if plan.unknown:
        lines.append(f"unknown, and not counted: {', '.join(plan.unknown)}")
    bases = Counter(task.basis.partition(",")[0] for task in plan.to_do if task.basis)
    lines.append("sources of the times: " + ", ".join(f"{basis} ({count})" for basis, count in bases.items()))
    if large := [task for task in plan.to_do if _too_large(task)]:
        lines.append(f"more memory than the card has (!): {', '.join(task.name for task in large)}")
    return [*lines, *_to_pull(plan), *plan.remarks]


def _to_pull(plan: Plan) -> list[str]:
    if not plan.to_pull:
        return []
    return [
        f"{len(plan.to_pull)} results are in DVC's remote alone: run dvc pull first",
        f"time: {_about(plan.hours_unless_pulled, duration)}, if dvc repro makes them again instead",
    ]


def _columns(plan: Plan) -> list[str]:
    """The columns that are not empty in this plan."""
    rows = [_cells(task) for task in plan.tasks]
    return [name for name in rows[0] if name in TEXTS or any(row[name] for row in rows)]


def _table(plan: Plan, columns: list[str]) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, justify="left" if name in TEXTS else "right", no_wrap=True)
    for task in plan.tasks:
        table.add_row(*map(_cells(task).get, columns), style=COLOURS[task.state])
    return table


def _cells(task: PlannedTask) -> dict[str, str]:
    """The cells of a row, by column."""
    state = STATES[task.state]
    if task.resumes_at_kimg is not None:
        state += f" {_count(task.resumes_at_kimg)}"
    unknown = "" if task.state == "cached" else "?"
    return {
        "task": task.name,
        "what happens": state,
        "images": "" if task.images is None else _count(task.images),
        "steps": "" if task.steps is None else _count(task.steps),
        "time": _range(task.hours, duration) if task.hours else unknown,
        "GPU GiB": _memory(task),
        "disk": "" if task.disk_gib is None else _gib(task.disk_gib),
        "price": "" if task.price is None else _range(task.price, _price),
    }


def _memory(task: PlannedTask) -> str:
    if task.gpu_memory_gib is None:
        return ""
    of_card = f" of {task.card_gib:g}" if task.card_gib else ""
    return f"{'! ' if _too_large(task) else ''}{task.gpu_memory_gib:.0f}{of_card}"


def _too_large(task: PlannedTask) -> bool:
    return bool(task.card_gib and task.gpu_memory_gib and task.gpu_memory_gib > task.card_gib)


def _reasons(plan: Plan) -> dict[str, str]:
    """The reasons, joined if they hold for the same tasks, by the names of these tasks."""
    tasks_by_reason: dict[str, list[str]] = {}
    for task in plan.tasks:
        for reason in task.why or (["upstream changed"] if task.upstream else []):
            tasks_by_reason.setdefault(reason, []).append(task.name)
    reasons_by_tasks: dict[tuple[str, ...], list[str]] = {}
    for reason, names in tasks_by_reason.items():
        reasons_by_tasks.setdefault(tuple(names), []).append(reason)
    return {
        _names(names, plan): "; ".join(reasons[:MAX_REASONS])
        + (f"; {len(reasons) - MAX_REASONS} more" if reasons[MAX_REASONS:] else "")
        for names, reasons in reasons_by_tasks.items()
    }


def _names(names: tuple[str, ...], plan: Plan) -> str:
    """The names of tasks, the phases of each stage together: "train r0004, r0008"."""
    if len(names) == len(plan.tasks):
        return "every task"
    stages: dict[str, list[str]] = {}
    for name in names:
        stage, _, item = name.partition(" ")
        stages.setdefault(stage, []).append(item)
    return ", ".join(f"{stage} {', '.join(items)}".strip() for stage, items in stages.items())


# ------------------------------------------------------------------------------------------------
# Amounts


def _about(amount: Range, text: Callable[[float, float], str]) -> str:
    return f"about {text(amount.likely, amount.likely)}, at most {text(amount.high, amount.likely)}"


def _range(amount: Range, text: Callable[[float, float], str]) -> str:
    """ "2–8 h", both in the unit that suits the likely amount."""
    low, high = text(amount.low, amount.likely), text(amount.high, amount.likely)
    number, _, unit = low.partition(" ")
    return high if low == high else f"{number}–{high}" if unit else f"{low}–{high}"


def duration(hours: float, likely: float) -> str:
    """`hours` in the unit that suits `likely` hours."""
    units = {"s": 1 / 3600, "min": 1 / 60, "h": 1.0, "days": 24.0}
    unit, size = next((pair for pair in reversed(units.items()) if likely >= 2 * pair[1]), ("s", 1 / 3600))
    return f"{_rounded(hours / size)} {unit}"


def _price(amount: float, likely: float) -> str:
    return f"{amount:,.0f}" if likely >= 10 else f"{amount:.2f}"


def _count(number: float) -> str:
    """A number with three digits: 7000002 → "7 M", 50125 → "50.1 k"."""
    if number < 10_000:
        return f"{number:,g}"
    return f"{number / 1e6:.3g} M" if number >= 999_500 else f"{number / 1e3:.3g} k"


def _gib(amount: float) -> str:
    return f"{_rounded(amount)} GiB" if amount >= 0.1 else f"{_rounded(amount * 1024)} MiB"


def _rounded(value: float) -> str:
    """A whole number, or two digits of one below 10: more would be false precision."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}" if value >= 0.1 else "0"
