"""`register` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(params: str, dataset_uri: str, dataset_digest: str, results: str, run: str) -> None:
    """Log the run to MLflow; register its generator if the gate passed.

    Args:
        params: params.yaml as canonical JSON.
        dataset_uri: Where the dataset is.
        dataset_digest: Of the dataset's manifest.
        results: Where the results of all tasks are kept.
        run: The name of this run.
    """
    from components.pod import Pod
    from components.register.runs import RunFiles
    from components.register.stage import register

    with Pod("register", params, results, None, dataset_uri, dataset_digest, run) as pod:
        pod.bring_inputs()
        register(pod.config, RunFiles(**pod.paths), dataset_uri)
        pod.keep()
