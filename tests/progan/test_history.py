"""The history of a phase: read as it was written, and what it adds up to."""

import csv
import json
from dataclasses import replace

import pytest

from progan.errors import InputError
from progan.history import History, Readings, Row, Total
from tests.histories import BEGIN, history

CARD = Readings(1795598024.5, "NVIDIA H100", 2, "1.5 USD", 98, 40.5, 110.0, None)


def hours(*ends, **readings):
    """A phase with a row after each of so many hours."""
    machine = replace(CARD, **readings)
    return History(tuple(replace(BEGIN, seconds=end * 3600.0, machine=machine) for end in ends))


def test_a_row_survives_json():
    """As snapshots keep it."""
    row = replace(BEGIN, d_loss=None, machine=CARD)
    assert Row.of(json.loads(json.dumps(row.columns))) == row


def test_a_history_survives_its_file(tmp_path):
    """To the last bit; what nobody measured stays unknown."""
    first = replace(BEGIN, d_loss=None, swd=None, machine=CARD)
    written = History((first, replace(BEGIN, kimg=1 / 3, images=333, machine=CARD)))
    written.write(tmp_path / "r0004.csv")
    assert History.read(tmp_path / "r0004.csv") == written
    assert History.read(tmp_path / "r0008.csv") == History()


@pytest.mark.parametrize("price", [None, "1.5 USD"])
def test_columns(tmp_path, price):
    """As DVC's plots and people know them; of the price, only where there is one."""
    hours(0, 1, gpu_hour_price=price).write(tmp_path / "r0004.csv")
    with (tmp_path / "r0004.csv").open(newline="") as file:
        names = csv.DictReader(file).fieldnames
    assert names == [
        *("kimg", "images", "alpha", "learning_rate", "minibatch", "d_loss", "g_loss", "real_score"),
        *("fake_score", "gradient_norm", "skipped", "seconds", "images_per_second", "swd", "time", "device"),
        *("gpus", *(["gpu_hour_price"] if price else []), "gpu_percent", "gpu_memory_gib", "cpu_percent"),
        *("memory_gib", "graph_replays"),
    ]


@pytest.mark.parametrize(
    ("was", "now"),
    [("kimg", "kimages"), ("1.0,0.001", "much,0.001"), ("0.001,8", "0.001,"), ("50.0", "50.0,,,,,,,,,")],
)
def test_a_damaged_file_is_one_line(tmp_path, was, now):
    path = tmp_path / "r0004.csv"
    history().write(path)
    text = path.read_text()
    assert was in text
    path.write_text(text.replace(was, now))
    with pytest.raises(
        InputError, match=r"r0004.csv: not a phase's history .*; dvc checkout --force .*r0004"
    ):
        History.read(path)


def test_histories_of_before_say_nothing_of_the_machine(tmp_path):
    path = tmp_path / "r0004.csv"
    history().write(path)
    with path.open(newline="") as file:
        rows = [{name: row[name] for name in list(row)[:14]} for row in csv.DictReader(file)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert History.read(path) == history()


def test_totals():
    four = history(100, 60.0, device="A100", gpus=4, time=5.0)
    one = history(400, 30.0, device="A100", gpus=1)
    cpu = history(500, 10.0, device="CPU", gpus=0)
    total = Total.of([four, one, cpu, four, History(), history()])
    assert (total.images, total.kimg) == (1200, 1.2)
    assert (total.seconds, total.gpu_seconds, total.gpus) == (225.0, 510.0, 4)
    assert total.devices == ("4 × A100", "A100", "CPU")
    assert total.skipped == 0
    assert (four.began, four.ended, one.began, History().ended) == (5.0, 5.0, None, None)
    assert Total.of([]) == History().total == Total(0, 0, 0, 0, (), "", 0)


def test_time_by_gpus_by_price():
    assert hours(0, 1, 4).total.price == "12.00 USD"
    assert hours(0, 2, gpus=4, gpu_hour_price="2 EUR").total.price == "16.00 EUR"


def test_a_phase_that_went_on_at_another_price():
    cheap, dear = hours(0, 1), hours(2, gpu_hour_price="3 USD")
    assert History(cheap.rows + dear.rows).total.price == "9.00 USD"


def test_the_price_of_all_phases_together():
    assert Total.of([hours(0, 1), hours(0, 500), History()]).price == "1,503.00 USD"
    assert Total.of([hours(0, 1), hours(0, 1, gpu_hour_price="4 EUR")]).price == "3.00 USD + 8.00 EUR"


def test_no_price_is_known():
    unknown = hours(0, 1, gpu_hour_price=None)
    assert unknown.total.price == ""
    assert hours(0, 1, gpus=0).total.price == ""
    assert Total.of([unknown, hours(0, 1)]).price == "3.00 USD"
