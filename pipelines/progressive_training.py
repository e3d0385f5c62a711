"""The pipeline: a chain of phases, built in Python at compile time, from dataset to registered generator.

Training goes on to the next phase while the one before is evaluated. What is cached is known by what
decides it (components/digests.py), never by where it ran or which image it ran in.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from kfp import dsl

from components import digests
from components.build_dataset.component import build_dataset
from components.evaluate.component import evaluate
from components.gate.component import gate
from components.register.component import register
from components.report.component import report
from components.score_network.component import score_network
from components.train.component import train
from components.warm_start.component import warm_start
from pipelines.placement import Placer
from pipelines.profile import Storage
from progan import config as params
from progan.config import Config

NAME = "progressive-training"
RUN = dsl.PIPELINE_JOB_ID_PLACEHOLDER


def progressive_training(config: Config, storage: Storage, dataset_digest: str, place: Placer) -> Any:
    """The pipeline for these parameters, as kfp compiles or runs it.

    dataset_digest: of the dataset's manifest; empty when it has not been built yet. Then nothing is cached
    but by what Kubeflow Pipelines knows of a task, the image among it.
    """
    tasks = _Tasks(config, storage, dataset_digest, place)

    @dsl.pipeline(name=NAME, description=f"Trains {config.register.model}, {', '.join(config.phases)}.")
    def pipeline() -> None:
        with dsl.ExitHandler(tasks.report(), name="whatever happens, report"), ExitStack() as verdicts:
            dataset = tasks.build_dataset().output
            network = tasks.score_network(dataset).outputs["network"]
            checkpoint, evaluated = None, []
            for key in config.warm_start:
                checkpoint = tasks.warm_start(key).outputs["checkpoint"]
            for key in config.phases:
                checkpoint = tasks.train(key, dataset, checkpoint).outputs["checkpoint"]
                evaluated.append(tasks.evaluate(key, dataset, checkpoint, network))
                evaluation = evaluated[-1].outputs["evaluation"]
                if key == config.gate.stop_after:
                    passed = tasks.gate(key, dataset, evaluation).output
                    verdicts.enter_context(dsl.If(passed == True, name=f"{key} passed"))  # noqa: E712
            judged = tasks.gate(config.last_phase, dataset, evaluation)
            tasks.register(dataset, checkpoint).after(*evaluated, judged)  # what failed is logged too

    return pipeline


@dataclass(frozen=True)
class _Tasks:
    """Makes the tasks: what each is called, takes, is cached by, and where it is placed."""

    config: Config
    storage: Storage
    dataset_digest: str
    place: Placer

    def build_dataset(self) -> Any:
        task = build_dataset(
            params=params.to_text(self.config),
            params_digest=digests.dataset_params(self.config),
            dataset_uri=self.storage.dataset,
            dataset_digest=self.dataset_digest,
            results=self.storage.results,
            run=RUN,
        )
        return self._always(task, "build dataset")

    def score_network(self, dataset: Any) -> Any:
        params_digest = digests.score_network_params(self.config)
        task = score_network(**self._data(dataset, params_digest), results=self.storage.results)
        return self._once(task, "score network", "score-network", params_digest)

    def warm_start(self, key: str) -> Any:
        params_digest = digests.warm_start_params(self.config)
        task = warm_start(params=params.to_text(self.config), params_digest=params_digest, phase=key)
        return self._once(task, f"warm start {key}", "warm-start", params_digest)

    def train(self, key: str, dataset: Any, init: Any) -> Any:
        params_digest = digests.train_params(self.config, key)
        task = train(
            **self._data(dataset, params_digest),
            phase=key,
            snapshots=self.storage.snapshots,
            results=self.storage.results,
            **({} if init is None else {"init": init}),
        )
        return self._once(task, f"train {key}", "train", params_digest, key)

    def evaluate(self, key: str, dataset: Any, checkpoint: Any, network: Any) -> Any:
        params_digest = digests.evaluate_params(self.config, key)
        task = evaluate(
            **self._data(dataset, params_digest),
            phase=key,
            results=self.storage.results,
            checkpoint=checkpoint,
            network=network,
        )
        return self._once(task, f"evaluate {key}", "evaluate", params_digest, key, gpus=1)

    def gate(self, key: str, dataset: Any, evaluation: Any) -> Any:
        task = gate(**self._of_run(), dataset_digest=dataset, evaluation=evaluation)
        return self._always(task, f"gate {key}")

    def register(self, dataset: Any, checkpoint: Any) -> Any:
        uri = self.storage.dataset
        task = register(**self._of_run(), dataset_uri=uri, dataset_digest=dataset, checkpoint=checkpoint)
        return self._always(task, "register")

    def report(self) -> Any:
        return self._always(report(**self._of_run(), dataset_uri=self.storage.dataset), "report")

    def _data(self, dataset: Any, params_digest: str) -> dict[str, Any]:
        return {
            "params": params.to_text(self.config),
            "params_digest": params_digest,
            "dataset_uri": self.storage.dataset,
            "dataset_digest": dataset,
        }

    def _of_run(self) -> dict[str, Any]:
        return {
            "params": params.to_text(self.config),
            "params_digest": digests.all_params(self.config),
            "results": self.storage.results,
            "run": RUN,
        }

    def _always(self, task: Any, name: str) -> Any:
        """A task that every run runs: it reads or changes what no digest names."""
        task.set_caching_options(False)
        self.place(task, None, None)
        return task.set_display_name(name)

    def _once(
        self,
        task: Any,
        name: str,
        stage: str,
        params_digest: str,
        phase: str | None = None,
        gpus: int | None = None,
    ) -> Any:
        """A task that is run once for the same parameters and data."""
        known = self.dataset_digest
        key = digests.cache_key(stage, params_digest, known, self.storage.results) if known else None
        task.set_caching_options(True, cache_key=key)
        self.place(task, phase, gpus)
        return task.set_display_name(name)
