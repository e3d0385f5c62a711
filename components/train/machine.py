"""Readings of the machine during training."""

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
    """A function that reads clock and device, and load and memory of this process's GPU and CPUs.

    With several ranks only the first one is read.
    """
    process = psutil.Process()
    process.cpu_percent()  # the first call only starts the measurement
    on_gpu = torch.cuda.is_available()

    def read() -> Readings:
        return Readings(
            time=round(time.time(), 3),
            device=device_name(),
            gpus=ranks if on_gpu else 0,
            gpu_hour_price=os.environ.get(price.VARIABLE),
            gpu_percent=_gpu_reading(torch.cuda.utilization),
            gpu_memory_gib=torch.cuda.max_memory_allocated() / GIB if on_gpu else None,
            cpu_percent=process.cpu_percent(),
            memory_gib=process.memory_info().rss / GIB,
        )

    return read


def _gpu_reading(read: Callable[[], int]) -> int | None:
    """A reading of the driver; None without a GPU, or if the driver has none (as for a MIG slice)."""
    try:
        return read() if torch.cuda.is_available() else None
    except Exception:  # training must not depend on the driver's readings
        return None
