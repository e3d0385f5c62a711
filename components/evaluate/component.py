"""`evaluate` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    params: str,
    phase: str,
    dataset_uri: str,
    dataset_digest: str,
    results: str,
    checkpoint: dsl.Input[dsl.Model],
    score_network: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Metrics],
    samples: dsl.Output[dsl.Artifact],
    nearest: dsl.Output[dsl.Artifact],
) -> None:
    """Measure a finished phase; draw reals beside fakes, and fakes above their nearest training images.

    A phase that was evaluated before, here or on a laptop, is taken from the results instead.

    Args:
        checkpoint: The finished phase's checkpoint.
        score_network: The folder of the network that scores generators.
        evaluation: The measures, as JSON and as metrics.
        samples: Reals beside fakes.
        nearest: Fakes above their nearest training images.
    """
    from components.evaluate.evaluation import Evaluation
    from components.evaluate.stage import evaluate
    from components.pod import Pod

    inputs = {"checkpoint": checkpoint, "score_network": score_network}
    with Pod("evaluate", params, results, phase, dataset_uri, dataset_digest, **inputs) as pod:
        if not pod.bring():
            dataset = pod.fetch_level(pod.config.phase(phase).resolution)
            evaluate(pod.config, phase, **pod.paths | {"dataset": dataset})
            pod.keep()
        evaluation.metadata.update(Evaluation.read(pod.paths["evaluation"]).numbers)
        pod.hand_on(evaluation=evaluation, samples=samples, nearest=nearest)
