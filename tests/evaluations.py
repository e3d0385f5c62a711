"""Made-up evaluations and verdicts, for what reads them."""

from dataclasses import replace

from components.evaluate.evaluation import Evaluation
from components.gate.verdict import Reason, Verdict

EVALUATION = Evaluation(
    phase="r0004", resolution=4, kimg=0.1, identity="f" * 64, checkpoint="c" * 64, dataset="data",
    swd_images=16, measures={"swd_average": 50.0, "swd_16": 50.0, "ms_ssim": 0.4, "classifier_score": 2.0},
)  # fmt: skip


def evaluation(phase="r0004", **measures):
    """Of a phase, with other measures."""
    made = replace(EVALUATION, phase=phase, resolution=int(phase[1:]))
    return replace(made, measures=made.measures | measures)


def verdict(candidate, passed=True, text="swd is 50", champion=None):
    reason = Reason("swd_average", 50.0, 1.0, passed, text)
    return Verdict(candidate.phase, passed, (reason,), candidate, champion)
