"""What the machine says of itself beside the curves."""

import time

import psutil
import pytest
import torch

from components.train import machine


def test_readings_of_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    read = machine.machine_readings(ranks=2)
    busy_until = time.process_time() + 0.2
    while time.process_time() < busy_until:
        pass
    readings = read()
    assert abs(readings.time - time.time()) < 5
    assert (readings.device, readings.gpus) == ("CPU", 0)
    assert readings.gpu_percent is readings.gpu_memory_gib is None
    assert readings.cpu_percent > 1
    used = psutil.Process().memory_info().rss / 2**30
    assert readings.memory_gib == pytest.approx(used, rel=0.2)
    assert readings.gpu_hour_price is None


def test_readings_of_gpus(monkeypatch):
    """A driver may not know how busy a card is: so with one that is cut in slices."""

    def unknown():
        raise RuntimeError("NVML: Not Supported")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "utilization", unknown)
    monkeypatch.setenv("PROGAN_GPU_HOUR_PRICE", "1.8 USD")
    readings = machine.machine_readings(ranks=2)()
    assert (readings.device, readings.gpus) == ("NVIDIA H100", 2)
    assert readings.gpu_hour_price == "1.8 USD"
    assert (readings.gpu_percent, readings.gpu_memory_gib) == (None, 3.0)
