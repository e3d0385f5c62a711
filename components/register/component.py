"""`register` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    params: str,
    params_digest: str,
    dataset_uri: str,
    dataset_digest: str,
    results: str,
    run: str,
    checkpoint: dsl.Input[dsl.Model],
) -> None:
    """Log the run to MLflow; register its generator if the gate passed.

    Args:
        params: params.yaml as canonical JSON.
        params_digest: Digest of all of them.
        dataset_uri: Where the dataset is.
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
        files, out = RunFiles.below(Path(folder)), Path(folder) / "registration.json"
        files.add_checkpoints(kept, loaded.last_phase, Path(checkpoint.path))
        register(loaded, files, dataset_uri, out)
        kept.keep_for_run(out)
