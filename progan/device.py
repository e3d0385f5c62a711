"""The device that this process computes on."""

import torch


def best_device() -> torch.device:
    """This process's current GPU if CUDA is available, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def device_name() -> str:
    """The GPU's name as CUDA reports it, or "CPU"."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def cpu_threads(device: torch.device) -> int | None:
    """The threads that share an operation on the CPU, whose number changes the last bits; None on a GPU."""
    return torch.get_num_threads() if device.type == "cpu" else None
