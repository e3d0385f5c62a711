"""What training cost: from the rows of its history, each at the price of the pod that wrote it."""

import pytest

from components.price import paid


def row(hours, gpus=2, price="1.5 USD"):
    """As the history's file has it, or the report has read it."""
    return {"seconds": str(hours * 3600), "gpus": str(gpus)} | ({"gpu_hour_price": price} if price else {})


def test_time_by_gpus_by_price():
    assert paid([row(0), row(1), row(4)]) == "12.00 USD"
    assert (
        paid([{"seconds": 0.0}, {"seconds": 7200.0, "gpus": 4.0, "gpu_hour_price": "2 EUR"}]) == "16.00 EUR"
    )


def test_a_phase_that_went_on_at_another_price():
    assert paid([row(0), row(1), row(2, price="3 USD")]) == "9.00 USD"


def test_all_phases_together():
    assert paid([row(0), row(1)], [row(0), row(500)], []) == "1,503.00 USD"
    assert paid([row(0), row(1)], [row(0), row(1, price="4 EUR")]) == "3.00 USD + 8.00 EUR"


@pytest.mark.parametrize("price", [None, ""])
def test_no_price_is_known(price):
    assert paid([row(0, price=price), row(1, price=price)]) == ""
    assert paid([row(0, gpus=0), row(1, gpus=0)]) == ""
    assert paid([row(0, price=price), row(1, price=price)], [row(0), row(1)]) == "3.00 USD"
