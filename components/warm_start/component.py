"""`warm-start` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def warm_start(params: str, params_digest: str, phase: str, checkpoint: dsl.Output[dsl.Model]) -> None:
    """Fetch the checkpoint that the first phase starts from.

    Args:
        params: params.yaml as canonical JSON.
        params_digest: Digest of those that say which checkpoint.
        phase: The key of the phase that made it.
        checkpoint: That of the registered version.
    """
    from pathlib import Path

    from components.warm_start.stage import warm_start
    from progan import config

    warm_start(config.from_text(params), phase, Path(checkpoint.path))
