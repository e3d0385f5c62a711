"""The pipeline: the tasks of dvc.yaml as tasks of Kubeflow, built in Python at compile time.

The next phase trains while the one before it is evaluated. The cache key of a task covers what decides its
result (components/identity.py), not where or in which image it ran.
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


def progressive_training(
    config: Config,
    storage: Storage,
    dataset_digest: str,
    place: Placer,
    run: str = dsl.PIPELINE_JOB_ID_PLACEHOLDER,
) -> Any:
    """The pipeline for these parameters, for kfp to compile or run.

    dataset_digest: that of the dataset's manifest; empty if it is not built yet. Then tasks have Kubeflow's
    own cache keys, which depend on the image too. run: the name under which the run's results are stored.
    """

    @dsl.pipeline(name=NAME, description=f"Trains {config.register.model}, {', '.join(config.phases)}.")
    def pipeline() -> None:
        graph = _Graph(config, storage, dataset_digest, place, run)
        *tasks, report = _phase_by_phase(config)
        with dsl.ExitHandler(graph.add(report), name="whatever happens, report"), ExitStack() as verdicts:
            for task in tasks:
                graph.add(task)
                if task.stage == "evaluate" and task.key == config.gate.stop_after:
                    passed = graph.add(stages.task(config, "gate"), task.key).output
                    verdicts.enter_context(dsl.If(passed == True, name=f"{task.key} passed"))  # noqa: E712

    return pipeline


def _phase_by_phase(config: Config) -> list[Task]:
    """The tasks of a run on a cluster: those before the phases, of each phase, and after them."""
    tasks = stages.tasks(config)
    of_phases = [task for task in tasks if task.key in config.phases]

    def position(task: Task) -> tuple[int, str]:
        if task in of_phases:
            return 1, str(task.key)
        follows = any(ancestor in of_phases for ancestor in stages.ancestors(task, tasks))
        return (2 if follows else 0), ""

    return sorted((task for task in tasks if task.run != "here"), key=position)


class _Graph:
    """The pipeline so far, and how to add the next task to it."""

    def __init__(
        self, config: Config, storage: Storage, dataset_digest: str, place: Placer, run: str
    ) -> None:
        self.config, self.storage, self.place, self.run = config, storage, place, run
        self.planned_digest = dataset_digest
        self.dataset_digest: Any = dataset_digest  # after build-dataset is added, its output
        self.added: list[tuple[Task, Any]] = []

    def add(self, task: Task, phase: str | None = None) -> Any:
        """Add `task` after those whose outputs it reads. phase: that of a gate before the last one."""
        component = _component(task.stage)
        before = [(other, kfp_task) for other, kfp_task in self.added if task.reads(other)]
        arguments = self._arguments(task, component, before)
        kfp_task = component(**arguments).after(*(earlier for _, earlier in before))
        self._cache(task, kfp_task)
        self.place(kfp_task, task)
        kfp_task.set_display_name(f"{task.title} {phase}" if phase else task.title)
        if task.stage == "build-dataset":
            self.dataset_digest = kfp_task.output
        self.added.append((task, kfp_task))
        return kfp_task

    def _arguments(self, task: Task, component: Any, before: list[tuple[Task, Any]]) -> dict[str, Any]:
        """The arguments that the component takes: values, and artifacts by the names of the inputs."""
        values = {
            "params": to_text(self.config),
            "phase": task.key,
            "dataset_uri": self.storage.dataset,
            "dataset_digest": self.dataset_digest,
            "snapshots": self.storage.snapshots,
            "results": self.storage.results,
            "run": self.run,
        }
        inputs = {file.name: artifact for file in task.inputs for artifact in _artifacts(file, before)}
        return {
            name: value
            for name, value in (values | inputs).items()
            if name in component.component_spec.inputs
        }

    def _cache(self, task: Task, kfp_task: Any) -> None:
        key = None
        if task.run == "once" and self.planned_digest:
            key = cache_key(self.config, task, self.planned_digest, self.storage.results)
        kfp_task.set_caching_options(task.run == "once", cache_key=key)


def _component(stage: str) -> Any:
    name = stage.replace("-", "_")
    return getattr(import_module(f"components.{name}.component"), name)


def _artifacts(file: File, before: list[tuple[Task, Any]]) -> list[Any]:
    """Kubeflow's artifacts of an input, the newest last."""
    return [
        kfp_task.outputs[output.name]
        for task, kfp_task in before
        for output in task.outputs
        if file.touches(output) and output.name in kfp_task.outputs
    ]
