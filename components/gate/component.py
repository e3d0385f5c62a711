"""`gate` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(params: str, results: str, run: str, evaluation: dsl.Input[dsl.Metrics]) -> bool:
    """Judge a phase's generator and return whether it passed; the verdict is stored with the run's results.

    The bool is the only output: not every backend evaluates a condition on one of several outputs.

    Args:
        evaluation: The measures of the phase.
    """
    from pathlib import Path

    from components.gate.stage import gate
    from components.pod import Pod

    with Pod("gate", params, results, run=run) as pod:
        passed = gate(pod.config, Path(evaluation.path), pod.paths["verdict"])
        pod.keep()
    return passed
