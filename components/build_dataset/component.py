"""`build-dataset` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def build_dataset(params: str, params_digest: str, dataset_uri: str, dataset_digest: str) -> str:
    """Make sure that the dataset is at `dataset_uri`; its digest.

    Args:
        params: params.yaml as canonical JSON.
        params_digest: Digest of those that decide the dataset.
        dataset_uri: Where the dataset is, or is to be.
        dataset_digest: Of the dataset that is expected there; empty when it was not built before.
    """
    from components.build_dataset.stage import find_or_build
    from components.storage import folder_of
    from progan import config

    return find_or_build(config.from_text(params), folder_of(dataset_uri), dataset_digest)
