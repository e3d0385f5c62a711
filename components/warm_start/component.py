"""`warm-start` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def warm_start(params: str, phase: str, results: str, checkpoint: dsl.Output[dsl.Model]) -> None:
    """Fetch the checkpoint that the first phase starts from.

    Args:
        checkpoint: The checkpoint of the registered version.
    """
    from components.pod import Pod
    from components.warm_start.stage import warm_start

    with Pod("warm-start", params, results, phase) as pod:
        if not pod.bring():
            warm_start(pod.config, phase, pod.paths["checkpoint"])
            pod.keep()
        pod.hand_on(checkpoint=checkpoint)
