"""A project folder of its own: dvc.yaml as it is, params.yaml shrunk."""

import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from fsspec.implementations.memory import MemoryFileSystem
from ruamel.yaml import YAML

from progan.memory import training_bytes
from tests.components.conftest import few_directions  # noqa: F401
from tests.conftest import shrunk_params, start_project


@dataclass(frozen=True)
class Project:
    root: Path
    registry: str = ""  # its address, if it is none of the project's own

    @property
    def environment(self):
        commands = str(Path(sys.executable).parent)
        return {
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "MLFLOW_TRACKING_URI": self.registry or f"sqlite:///{self.root}/mlflow.db",
        }

    def start(self, *command, **options):
        """A process in a session of its own, so that all of it can be killed."""
        return subprocess.Popen(
            command, cwd=self.root, start_new_session=True, **{"env": self.environment, **options}
        )

    def run(self, *command):
        """A finished process with its output as text."""
        return subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True)

    def change(self, **sections):
        values = yaml.safe_load((self.root / "params.yaml").read_text())
        for section, changes in sections.items():
            values[section] |= changes
        (self.root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


@pytest.fixture(scope="session", autouse=True)
def parsed_once():
    """DVC and we parse files again for each question, in pure Python: in this process, each content once."""
    load_for_dvc, load, contents = YAML.load, yaml.load, {}

    def once(parse, stream, parser, *key):
        if not isinstance(stream, str | bytes):
            return parse(parser, stream)
        if (stream, *key) not in contents:
            contents[stream, *key] = pickle.dumps(parse(parser, stream))
        return pickle.loads(contents[stream, *key])

    def load_for_dvc_once(self, stream):
        return once(load_for_dvc, stream, self) if self.typ == ["safe"] else load_for_dvc(self, stream)

    def load_once(stream, Loader):
        return once(lambda parser, stream: load(stream, parser), stream, Loader, Loader)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(YAML, "load", load_for_dvc_once)
        patch.setattr(yaml, "load", load_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def counted_once():
    """The memory of a phase takes seconds to count: in this process, once for the same parameters."""
    numbers = {}

    def count_once(*arguments):
        key = repr(arguments)
        if key not in numbers:
            numbers[key] = training_bytes(*arguments)
        return numbers[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.planning.tasks.training_bytes", count_once)
        patch.setattr("pipelines.refusals.training_bytes", count_once)
        yield


@pytest.fixture(autouse=True)
def emptied_memory():
    """What DVC keeps in the file system in memory, it searches from end to end, that of earlier tests too."""
    yield
    MemoryFileSystem.store.clear()


@pytest.fixture
def new_project(tmp_path, small_params):
    del small_params["phases"]["r0016"]

    def make(name="project"):
        root = tmp_path / name
        start_project(root, small_params)
        return Project(root)

    return make


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory):
    from tests.pipelines.finished import make_finished

    root = tmp_path_factory.mktemp("finished")
    params = shrunk_params()
    del params["phases"]["r0016"]
    params["dataset"]["resolution"] = 8
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        make_finished(params)
    return root


@pytest.fixture
def in_a_copy(tmp_path, monkeypatch):
    """Returns a function that copies a folder and goes there, until the test ends."""

    def go(folder):
        copy = shutil.copytree(folder, tmp_path / folder.name)
        monkeypatch.chdir(copy)
        return copy

    return go


@pytest.fixture
def finished(finished_once, in_a_copy):
    """A finished project of two phases; the tests run in its folder."""
    return Project(in_a_copy(finished_once))
