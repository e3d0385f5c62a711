"""`gate` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(
    params: str,
    params_digest: str,
    dataset_digest: str,
    results: str,
    run: str,
    evaluation: dsl.Input[dsl.Metrics],
) -> bool:
    """Judge a phase's generator; whether it passed. The verdict is kept with the run's results.

    The bare bool is its only output: a condition on one output of several is not evaluated everywhere.

    Args:
        params: params.yaml as canonical JSON.
        params_digest: Digest of all of them.
        dataset_digest: Of the dataset's manifest.
        results: Where the results of all tasks are kept.
        run: The name of this run.
        evaluation: The measures of the phase.
    """
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from components.gate.stage import gate
    from components.results import Results
    from progan import config

    loaded = config.from_text(params)
    with TemporaryDirectory() as folder:
        verdict = Path(folder) / "verdict.json"
        passed = gate(loaded, Path(evaluation.path), verdict)
        Results(results, loaded, dataset_digest, run).keep_for_run(verdict)
    return passed
