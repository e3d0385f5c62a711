"""The pipeline: the tasks of dvc.yaml as tasks of Kubeflow, built in Python at compile time.

Training goes on to the next phase while the one before is evaluated. What is cached is known by what decides
it (components/identity.py), never by where it ran or which image it ran in.
"""

from contextlib import ExitStack
from importlib import import_module
from typing import Any

from kfp import dsl

from components import stages
from components.identity import cache_key
from components.stages import File, Task
from pipelines.placement import Placer
from pipelines.profile import Storage
from progan.config import Config, to_text

NAME = "progressive-training"


def progressive_training(config: Config, storage: Storage, dataset_digest: str, place: Placer) -> Any:
    """The pipeline for these parameters, as kfp compiles or runs it.

    dataset_digest: of the dataset's manifest; empty when it has not been built yet. Then nothing is cached
    but by what Kubeflow Pipelines knows of a task, the image among it.
    """

    @dsl.pipeline(name=NAME, description=f"Trains {config.register.model}, {', '.join(config.phases)}.")
    def pipeline() -> None:
        graph = _Graph(config, storage, dataset_digest, place)
        *tasks, report = _phase_by_phase(config)
        with dsl.ExitHandler(graph.add(report), name="whatever happens, report"), ExitStack() as verdicts:
            for task in tasks:
                graph.add(task)
                if task.stage == "evaluate" and task.key == config.gate.stop_after:
                    passed = graph.add(stages.task(config, "gate"), task.key).output
                    verdicts.enter_context(dsl.If(passed == True, name=f"{task.key} passed"))  # noqa: E712

    return pipeline


def _phase_by_phase(config: Config) -> list[Task]:
    """The tasks of a run on a cluster: what all phases need, each phase with its evaluation, what follows."""
    every = stages.tasks(config)
    phases = [task for task in every if task.key in config.phases]

    def place(task: Task) -> tuple[int, str]:
        if task in phases:
            return 1, str(task.key)
        return (2 if any(each in phases for each in stages.ancestors(task, every)) else 0), ""

    return sorted((task for task in every if task.run != "here"), key=place)


class _Graph:
    """The tasks that the pipeline has so far."""

    def __init__(self, config: Config, storage: Storage, dataset_digest: str, place: Placer) -> None:
        self.config, self.storage, self.planned, self.place = config, storage, dataset_digest, place
        self.dataset_digest: Any = dataset_digest  # from build-dataset on, what that gives
        self.added: list[tuple[Task, Any]] = []

    def add(self, task: Task, of: str | None = None) -> Any:
        """Add `task` behind those whose outputs it reads; `of` is what a gate before the last one judges."""
        component = _component(task.stage)
        before = [(other, made) for other, made in self.added if task.reads(other)]
        made = component(**self._arguments(task, component, before)).after(*(made for _, made in before))
        self._cache(task, made)
        self.place(made, task)
        made.set_display_name(f"{task.title} {of}" if of else task.title)
        if task.stage == "build-dataset":
            self.dataset_digest = made.output
        self.added.append((task, made))
        return made

    def _arguments(self, task: Task, component: Any, before: list[tuple[Task, Any]]) -> dict[str, Any]:
        """What the component takes: what every task is told, and artifacts by the names of the inputs."""
        told = {
            "params": to_text(self.config),
            "phase": task.key,
            "dataset_uri": self.storage.dataset,
            "dataset_digest": self.dataset_digest,
            "snapshots": self.storage.snapshots,
            "results": self.storage.results,
            "run": dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        }
        inputs = {file.name: artifact for file in task.inputs for artifact in _artifacts(file, before)}
        return {
            name: value for name, value in (told | inputs).items() if name in component.component_spec.inputs
        }

    def _cache(self, task: Task, made: Any) -> None:
        if task.run == "always":
            made.set_caching_options(False)
            return
        known = self.planned
        key = cache_key(self.config, task, known, self.storage.results) if known else None
        made.set_caching_options(True, cache_key=key)


def _component(stage: str) -> Any:
    name = stage.replace("-", "_")
    return getattr(import_module(f"components.{name}.component"), name)


def _artifacts(file: File, before: list[tuple[Task, Any]]) -> list[Any]:
    """Those that Kubeflow has of an input, the newest last."""
    return [
        made.outputs[output.name]
        for task, made in before
        for output in task.outputs
        if file.touches(output) and output.name in made.outputs
    ]
