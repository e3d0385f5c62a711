"""`train` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    params: str,
    params_digest: str,
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
    """Train one phase, going on from its newest snapshot if a pod before this one was stopped.

    A phase that was finished before, here or on a laptop, is taken from the results instead.

    Args:
        params: params.yaml as canonical JSON.
        params_digest: Digest of those that decide the checkpoint.
        phase: The key of the phase.
        dataset_uri: Where the dataset is.
        dataset_digest: Of its manifest.
        snapshots: Where state is kept to go on from.
        results: Where the results of all tasks are kept.
        checkpoint: What the finished phase hands on.
        history: The table of losses and rates.
        grids: Pictures over training.
        init: The checkpoint of the phase before; none for the first.
    """
    from pathlib import Path

    from components.object_store.dataset import fetch_level
    from components.results import Results, opened
    from components.train.launch import PhaseJob, gpus_here, launcher
    from progan import config

    loaded = config.from_text(params)
    kept = Results(results, loaded, dataset_digest)
    before = Path(init.path) if init else None
    made = Path(checkpoint.path), Path(history.path), Path(grids.path)
    if kept.fetch_training(phase, opened(before) if before else None, *made):
        print(f"{phase}: was trained before, taken from {results}")
    else:
        dataset = fetch_level(dataset_uri, dataset_digest, loaded.phase(phase).resolution)
        launcher(gpus_here()).run(PhaseJob(loaded, phase, dataset, before, snapshots, *made))
        kept.keep_training(phase, *made)
