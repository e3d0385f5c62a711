"""A task in a pod: it works in a temporary folder that is laid out like a checkout."""

import shutil
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components import stages
from components.object_store.dataset import expected_manifest, fetch_level, find_manifest
from components.receipts import identity_here
from components.results import Results, trace
from progan import config
from progan.dataset.manifest import MANIFEST_NAME, Manifest
from progan.files import write_json


class Pod:
    """One task of a run on a cluster; `paths` are those of its files, by their names in dvc.yaml.

    params: params.yaml as canonical JSON. phase: its key. run: the name of this run.
    results: the address of the results of all tasks. dataset_uri, dataset_digest: the address of the dataset,
    and the digest that its manifest must have. inputs: Kubeflow's artifacts by name; None if there is none.
    """

    def __init__(
        self,
        stage: str,
        params: str,
        results: str,
        phase: str | None = None,
        dataset_uri: str = "",
        dataset_digest: str = "",
        run: str = "",
        **inputs: Any,
    ) -> None:
        self.config = config.from_text(params)
        self.task = stages.task(self.config, stage, phase)
        self.results, self.run = Results(results), run
        self.dataset_uri, self.dataset_digest = dataset_uri, dataset_digest
        self._inputs = {name: Path(artifact.path) for name, artifact in inputs.items() if artifact}

    def __enter__(self) -> "Pod":
        self._folder = TemporaryDirectory(prefix="progan-")
        self.root = Path(self._folder.name)
        self.paths = self.task.paths(self.root) | self._inputs
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    @cached_property
    def identity(self) -> str:
        if self.task.run == "always":
            return self.run
        return identity_here(self.config, self.task, self.paths, self.manifest)

    @cached_property
    def manifest(self) -> Manifest | None:
        """The dataset's manifest; None if there is no dataset yet."""
        if self.dataset_digest:
            return expected_manifest(self.dataset_uri, self.dataset_digest)
        return find_manifest(self.dataset_uri) if self.dataset_uri else None

    def bring(self) -> bool:
        """Take the outputs from the results; False if there is no result yet."""
        done = self.results.bring(self.task, self.identity, self.root)
        if done:
            print(f"{self.task.title}: was done before, taken from {self.results.uri}")
        return done

    def bring_inputs(self) -> None:
        """Bring the inputs of the task from the results, as far as the run has produced them."""
        if self.manifest:
            write_json(self.paths["dataset"] / MANIFEST_NAME, self.manifest.to_json())
            for step in trace(self.config, self.manifest, self.results):
                if step.receipt and step.identity:
                    self._bring(step.task, step.identity)
        for task in stages.tasks(self.config):
            if task.run == "always":
                self._bring(task, self.run)

    def _bring(self, task: stages.Task, identity: str) -> None:
        wanted = [out.path for out in task.outputs if any(file.touches(out) for file in self.task.inputs)]
        if wanted:
            self.results.bring(task, identity, self.root, wanted)

    def fetch_level(self, resolution: int) -> Path:
        """The folder of the dataset with the images of one resolution."""
        return fetch_level(self.dataset_uri, self.dataset_digest, resolution)

    def keep(self) -> None:
        """Store the outputs in the results."""
        self.results.keep(self.task, self.identity, self.root)

    def hand_on(self, **outputs: Any) -> None:
        """Move the outputs of these names to Kubeflow's artifacts."""
        for name, artifact in outputs.items():
            to = Path(artifact.path)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(self.paths[name], to)
