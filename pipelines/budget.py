"""The budget of a run, compared with the upper bounds of its plan."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from progan.errors import InputError

if TYPE_CHECKING:
    from pipelines.planning.tasks import Plan


def over_budget(plan: "Plan", max_cost: float | None, max_hours: float | None) -> InputError | None:
    """The error for a plan that may exceed a limit on cost or hours; None if it is within the budget."""
    over = "; ".join(_excesses(plan, max_cost, max_hours))
    return InputError(f"over the budget: {over}; raise the limit, or train less") if over else None


def _excesses(plan: "Plan", max_cost: float | None, max_hours: float | None) -> Iterator[str]:
    if max_cost is not None and plan.price.high > max_cost:
        yield f"it costs up to {plan.price.high:,.2f} {plan.currency}, more than --max-cost {max_cost:g}"
    if max_hours is not None and plan.hours.high > max_hours:
        yield f"it takes up to {plan.hours.high:,.1f} h, more than --max-hours {max_hours:g}"
