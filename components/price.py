"""What training cost in money: known of phases that a cluster trained whose profile has prices."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

VARIABLE = "PROGAN_GPU_HOUR_PRICE"  # by which a pod is told, such as "1.8 USD" …
COLUMN = "gpu_hour_price"  # … which its history repeats


def paid(*histories: Iterable[Mapping[str, Any]]) -> str:
    """Time × GPUs × price of the rows of these phases, such as "12.06 USD"; empty where no price is known."""
    amounts: dict[str, float] = defaultdict(float)
    for rows in histories:
        for before, row in pairwise(rows):
            if (told := row.get(COLUMN)) and int(row["gpus"]):
                price, currency = told.split()
                hours = (float(row["seconds"]) - float(before["seconds"])) / 3600
                amounts[currency] += hours * int(row["gpus"]) * float(price)
    return " + ".join(f"{amount:,.2f} {currency}" for currency, amount in amounts.items())
