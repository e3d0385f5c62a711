"""Where the work is done."""

import torch


def best_device() -> torch.device:
    """The GPU that is this process's when there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def device_name() -> str:
    """The GPU's name as CUDA has it, or "CPU"."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
