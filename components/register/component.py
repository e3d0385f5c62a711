"""`register` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    params: str,
    params_digest: str,
    dataset_digest: str,
    results: str,
    run: str,
    checkpoint: dsl.Input[dsl.Model],
) -> None:
    """Log the run to MLflow and register its generator.

    Args:
        params: params.yaml as canonical JSON.
        params_digest: Digest of all of them.
        dataset_digest: Of the dataset's manifest.
        results: Where the results of all tasks are kept.
        run: The name of this run.
        checkpoint: Of the last phase.
    """
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from components.register.runs import RunFiles
    from components.register.stage import register
    from components.results import Results
    from progan import config

    loaded = config.from_text(params)
    kept = Results(results, loaded, dataset_digest, run)
    with TemporaryDirectory() as folder:
        kept.gather(Path(folder))
        out = Path(folder) / "registration.json"
        register(loaded, RunFiles.below(Path(folder), Path(checkpoint.path)), out)
        kept.keep_for_run(out)
