"""`score-network` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def score_network(
    params: str,
    params_digest: str,
    dataset_uri: str,
    dataset_digest: str,
    network: dsl.Output[dsl.Model],
) -> None:
    """Prepare the network that scores generators.

    Args:
        params: params.yaml as canonical JSON.
        params_digest: Digest of those that decide the network.
        dataset_uri: Where the dataset is.
        dataset_digest: Of its manifest.
        network: The score network's folder.
    """
    from pathlib import Path

    from components.score_network.stage import prepare_score_network
    from components.storage import fetch_dataset
    from progan import config

    dataset = fetch_dataset(dataset_uri, dataset_digest)
    prepare_score_network(config.from_text(params), dataset, Path(network.path))
