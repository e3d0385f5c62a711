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
from ruamel.yaml import YAML

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
    """DVC parses its files again for each question, in pure Python: in this process, each content once."""
    load, contents = YAML.load, {}

    def load_once(self, stream):
        if self.typ != ["safe"] or not isinstance(stream, str):
            return load(self, stream)
        if stream not in contents:
            contents[stream] = pickle.dumps(load(self, stream))
        return pickle.loads(contents[stream])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(YAML, "load", load_once)
        yield


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
