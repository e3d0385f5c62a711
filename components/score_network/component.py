"""`score-network` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def score_network(
    params: str,
    params_digest: str,
    dataset_uri: str,
    dataset_digest: str,
    results: str,
    network: dsl.Output[dsl.Model],
) -> None:
    """Prepare the network that scores generators, or take it from the results.

    Args:
        params: params.yaml as canonical JSON.
        params_digest: Digest of those that decide the network.
        dataset_uri: Where the dataset is.
        dataset_digest: Of its manifest.
        results: Where the results of all tasks are kept.
        network: The score network's folder.
    """
    from pathlib import Path

    from components.object_store.dataset import fetch_level
    from components.results import Results
    from components.score_network.stage import prepare_score_network, resolution_looked_at
    from progan import config

    loaded = config.from_text(params)
    kept, out = Results(results, loaded, dataset_digest), Path(network.path)
    if not kept.fetch_score_network(out):
        dataset = fetch_level(dataset_uri, dataset_digest, resolution_looked_at(loaded))
        prepare_score_network(loaded, dataset, out)
        kept.keep_score_network(out)
