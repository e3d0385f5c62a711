"""`score-network` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def score_network(
    params: str, dataset_uri: str, dataset_digest: str, results: str, score_network: dsl.Output[dsl.Model]
) -> None:
    """Prepare the network that scores generators, or use the one in the results.

    Args:
        score_network: The network's folder.
    """
    from components.pod import Pod
    from components.score_network.stage import classifier_resolution, prepare_score_network

    with Pod("score-network", params, results, None, dataset_uri, dataset_digest) as pod:
        if not pod.bring():
            dataset = pod.fetch_level(classifier_resolution(pod.config))
            prepare_score_network(pod.config, dataset, pod.paths["score_network"])
            pod.keep()
        pod.hand_on(score_network=score_network)
