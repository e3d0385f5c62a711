"""`evaluate` as Kubeflow Pipelines sees it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    params: str,
    params_digest: str,
    phase: str,
    dataset_uri: str,
    dataset_digest: str,
    results: str,
    checkpoint: dsl.Input[dsl.Model],
    network: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Metrics],
    samples: dsl.Output[dsl.Artifact],
    nearest: dsl.Output[dsl.Artifact],
) -> None:
    """Measure a finished phase; draw reals beside fakes, and the training images nearest to fakes.

    What was measured before, here or on a laptop, is taken from the results instead.

    Args:
        params: params.yaml as canonical JSON.
        params_digest: Digest of those that decide the evaluation.
        phase: The key of the phase.
        dataset_uri: Where the dataset is.
        dataset_digest: Of its manifest.
        results: Where the results of all tasks are kept.
        checkpoint: Of the finished phase.
        network: The score network's folder.
        evaluation: The measures, as JSON and as metrics.
        samples: Reals beside fakes.
        nearest: Fakes above the training images that are nearest to them.
    """
    from pathlib import Path

    from components.evaluate.stage import evaluate, numbers
    from components.object_store.dataset import fetch_level
    from components.results import Results, opened
    from progan import config

    loaded = config.from_text(params)
    kept, finished = Results(results, loaded, dataset_digest), Path(checkpoint.path)
    made = Path(evaluation.path), Path(samples.path), Path(nearest.path)
    if kept.fetch_evaluation(phase, opened(finished), *made):
        print(f"{phase}: was measured before, taken from {results}")
    else:
        dataset = fetch_level(dataset_uri, dataset_digest, loaded.phase(phase).resolution)
        evaluate(loaded, phase, finished, dataset, Path(network.path), *made)
        kept.keep_evaluation(phase, *made)
    evaluation.metadata.update(numbers(made[0]))
