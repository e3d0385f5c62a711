"""The budget of a run, compared with the upper bounds of its plan."""

from pipelines.planning.tasks import Plan
from progan.errors import InputError


def over_budget(plan: Plan, max_cost: float | None, max_hours: float | None) -> InputError | None:
    """The error for a plan that may exceed a limit on cost or hours; None if it is within the budget."""
    price, hours, over = plan.price.high, plan.hours.high, []
    if max_cost is not None and price > max_cost:
        over.append(f"it costs up to {price:,.2f} {plan.currency}, more than --max-cost {max_cost:g}")
    if max_hours is not None and hours > max_hours:
        over.append(f"it takes up to {hours:,.1f} h, more than --max-hours {max_hours:g}")
    return InputError(f"over the budget: {'; '.join(over)}; raise the limit, or train less") if over else None
