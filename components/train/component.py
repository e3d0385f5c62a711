"""`train` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    params: str,
    phase: str,
    dataset_uri: str,
    dataset_digest: str,
    snapshots: str,
    results: str,
    checkpoint: dsl.Output[dsl.Model],
    history: dsl.Output[dsl.Artifact],
    grids: dsl.Output[dsl.Artifact],
    init: dsl.Input[dsl.Model] = None,
) -> None:
    """Train one phase, from its newest snapshot if an earlier pod was interrupted.

    If the phase was finished earlier, on this cluster or elsewhere, its results are used instead.

    Args:
        checkpoint: What the finished phase hands on.
        history: The table of losses and rates.
        grids: Pictures over training.
        init: The checkpoint of the phase before; none for the first.
    """
    from components.pod import Pod
    from components.train.launch import PhaseJob, gpus_here, launch

    with Pod("train", params, results, phase, dataset_uri, dataset_digest, init=init) as pod:
        if not pod.bring():
            dataset = pod.fetch_level(pod.config.phase(phase).resolution)
            launch(
                PhaseJob.of(pod.config, pod.task, pod.identity, pod.paths, dataset, snapshots), gpus_here()
            )
            pod.keep()
        pod.hand_on(checkpoint=checkpoint, history=history, grids=grids)
