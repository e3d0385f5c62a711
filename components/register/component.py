"""`register` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(params: str, dataset_uri: str, dataset_digest: str, results: str, run: str) -> None:
    """Log the run to MLflow, and register its generator if the gate passed."""
    from components.pod import Pod
    from components.register.finished_runs import RunFiles
    from components.register.stage import register

    with Pod("register", params, results, None, dataset_uri, dataset_digest, run) as pod:
        pod.bring_inputs()
        register(pod.config, RunFiles(**pod.paths), dataset_uri)
        pod.keep()
