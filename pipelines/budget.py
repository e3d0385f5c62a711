"""What a run may cost and take, compared with what is planned at most."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from progan.errors import InputError

if TYPE_CHECKING:
    from pipelines.planning.tasks import Plan


def over_budget(plan: "Plan", max_cost: float | None, max_hours: float | None) -> InputError | None:
    """The error to raise for a plan that may cost or take more than the limits; None if it keeps to them."""
    over = "; ".join(_excesses(plan, max_cost, max_hours))
    return InputError(f"over the budget: {over}; raise the limit, or train less") if over else None


def _excesses(plan: "Plan", max_cost: float | None, max_hours: float | None) -> Iterator[str]:
    if max_cost is not None and plan.price.high > max_cost:
        yield f"it costs up to {plan.price.high:,.2f} {plan.currency}, more than --max-cost {max_cost:g}"
    if max_hours is not None and plan.hours.high > max_hours:
        yield f"it takes up to {plan.hours.high:,.1f} h, more than --max-hours {max_hours:g}"
