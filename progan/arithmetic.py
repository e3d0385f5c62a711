"""How a GPU computes: the precision of convolutions and matrix products, and the same bits every time."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from progan.config import Precision


@contextmanager
def arithmetic(precision: Precision = "float32") -> Iterator[None]:
    """Compute float32 products in this precision, with deterministic kernels; as before at the end.

    "tf32" rounds the factors of float32 products to 10 bits of mantissa (the sums stay float32). With
    "bfloat16" the layers' operands are bfloat16 (`progan.step.operands`); what else there is stays float32.
    """
    products = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = [setting.fp32_precision for setting in products]
    deterministic = torch.backends.cudnn.deterministic
    for setting in products:
        setting.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = deterministic
        for setting, value in zip(products, before, strict=True):
            setting.fp32_precision = value
