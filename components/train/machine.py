"""What the machine says of itself while it trains."""

import os
import time
from collections.abc import Callable

import psutil
import torch

from components import price
from progan.device import device_name
from progan.history import Readings

GIB = 2**30


def machine_readings(ranks: int) -> Callable[[], Readings]:
    """A function that reads clock, device, and how busy and how full this process's GPU and CPUs are.

    With several ranks the readings are the first one's.
    """
    process = psutil.Process()
    process.cpu_percent()  # from here on there is a call before
    on_gpu = torch.cuda.is_available()

    def read() -> Readings:
        filled = _of_gpu(torch.cuda.device_memory_used)
        return Readings(
            time=round(time.time(), 3),
            device=device_name(),
            gpus=ranks if on_gpu else 0,
            gpu_hour_price=os.environ.get(price.VARIABLE),
            gpu_percent=_of_gpu(torch.cuda.utilization),
            gpu_memory_gib=None if filled is None else filled / GIB,
            cpu_percent=process.cpu_percent(),
            memory_gib=process.memory_info().rss / GIB,
        )

    return read


def _of_gpu(read: Callable[[], int]) -> int | None:
    """What the driver says; None without a GPU, or where it says nothing (a slice of a card does not)."""
    try:
        return read() if torch.cuda.is_available() else None
    except Exception:  # whatever ails the driver's readings, training goes on without them
        return None
