"""`build-dataset` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def build_dataset(params: str, dataset_uri: str, dataset_digest: str, results: str, run: str) -> str:
    """Build the dataset at `dataset_uri` unless it exists, record the run, and return the dataset's digest.

    Args:
        dataset_digest: Of the dataset that is expected there; empty if it was not built before.
    """
    from components.build_dataset.stage import find_or_build
    from components.run_record import RUNNING, RunRecord
    from progan import config

    loaded = config.from_text(params)
    digest = find_or_build(loaded, dataset_uri, dataset_digest)
    RunRecord.of(loaded, digest, RUNNING).write(results, run)
    return digest
