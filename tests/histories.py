"""Made-up histories, for what reads them."""

from dataclasses import replace

from progan.history import History, Readings, Row

BEGIN = Row(
    kimg=0.0, images=0, alpha=1.0, learning_rate=0.001, minibatch=8, d_loss=1.0, g_loss=2.0, real_score=0.5,
    fake_score=-0.5, gradient_norm=1.0, skipped=0, seconds=0.0, images_per_second=10.0, swd=50.0,
)  # fmt: skip


def history(images=100, seconds=65.0, **readings):
    """A phase's first row and its last."""
    begin = replace(BEGIN, machine=Readings(**readings))
    return History((begin, replace(begin, kimg=images / 1000, images=images, seconds=seconds, swd=40.0)))
