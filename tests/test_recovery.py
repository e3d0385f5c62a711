"""Every command that a full disk or SIGKILL has ended makes the same bytes when it is repeated.

The disk is the system's own, so that every library that writes meets its errors. It grows while the command
is repeated: in `make test` once, in `make test-slow` by a page, or by a fifteenth of what `register` writes.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from components import stages
from components.identity import files_below
from components.register.registration import Registration
from components.tracking.client import client
from progan import config
from tests.commands import Command
from tests.conftest import shrunk_params, start_project
from tests.full_disk import repeat_until_it_fits, size_of
from tests.pipelines.finished import FACES, add_photographs

COMMANDS = [
    *("paint toy-celeba", "build-dataset", "score-network", "train r0004", "evaluate r0004"),
    *("gate", "report", "register"),
]
WITHOUT_PRIVILEGES = (  # by which root may read whatever it likes
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    if os.geteuid() == 0
    else []
)
WITH_TIMES = ("history", "receipts", "registration.json")  # they differ between equal runs


@dataclass(frozen=True)
class Undisturbed:
    """A command that nothing disturbed: the project before it, and what it made."""

    before: Path
    outputs: dict[str, bytes]
    bytes_written: int
    seconds: float


class Journey:
    """An undisturbed run of the commands, as far as it is asked for."""

    def __init__(self, folder):
        self.folder, self.project = folder, folder / "project"
        self.commands = {}

    def undisturbed(self, command):
        for words in COMMANDS[len(self.commands) : COMMANDS.index(command) + 1]:
            before = shutil.copytree(self.project, self.folder / words)
            began = time.monotonic()
            code, said = Command(words, self.project, self.folder / "log").end()
            seconds = time.monotonic() - began
            assert code == 0, said
            written = size_of(self.project) - size_of(before)
            self.commands[words] = Undisturbed(before, outputs(words, self.project), written, seconds)
        return self.commands[command]


@pytest.fixture(scope="module")
def journey(tmp_path_factory):
    params = shrunk_params()
    params["dataset"] |= {"source": "folder", "path": str(FACES), "label_attributes": [], "resolution": 4}
    params["phases"], params["gate"]["score_min"] = {"r0004": params["phases"]["r0004"]}, None
    params["paint"]["toy-celeba"]["images"] = 8
    journey = Journey(tmp_path_factory.mktemp("journey"))
    start_project(journey.project, params)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(journey.project)
        add_photographs(24)
    return journey


def outputs(command, project):
    """What the command has made: contents by path, for `register` those of the registered generator."""
    if command == "register":
        return registered(project)
    task = stages.task(config.load(project / "params.yaml"), *command.split())
    files = [file for output in task.outputs for file in files_below(project / output.path)]
    contents = {str(file.relative_to(project)): file.read_bytes() for file in files}
    return {name: content for name, content in contents.items() if not name.startswith(WITH_TIMES)}


def registered(project):
    """The files of the only version."""
    from mlflow.artifacts import download_artifacts

    registration = Registration.read(project / "registration.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
        [version] = client().search_model_versions(f"name='{registration.model}'")
        folder = Path(download_artifacts(f"models:/{version.name}/{version.version}/artifacts"))
    assert registration.version == str(version.version) == "1"
    return {file.name: file.read_bytes() for file in files_below(folder)}


@pytest.mark.parametrize(
    ("command", "steps"),
    [
        *((command, 1) for command in ("build-dataset", "train r0004")),
        *(pytest.param(command, 60, marks=pytest.mark.slow) for command in COMMANDS[:-1]),
        pytest.param("register", 15, marks=pytest.mark.slow),
    ],
)
def test_a_full_disk(journey, small_disk, tmp_path, command, steps):
    undisturbed, project = journey.undisturbed(command), small_disk("64m")
    shutil.copytree(undisturbed.before, project, dirs_exist_ok=True)
    repeat_until_it_fits(command, project, tmp_path / "log", undisturbed.bytes_written // steps)
    assert outputs(command, project) == undisturbed.outputs


@pytest.mark.parametrize(
    "command",
    [
        *("build-dataset", "train r0004"),
        *(pytest.param(command, marks=pytest.mark.slow) for command in COMMANDS),
    ],
)
def test_a_project_that_may_not_be_written(journey, small_disk, tmp_path, command):
    project = shutil.copytree(journey.undisturbed(command).before, small_disk("64m"), dirs_exist_ok=True)
    subprocess.run(["mount", "-o", "remount,ro", project], check=True)
    code, said = Command(command, project, tmp_path / "log").end()
    assert code == 2, said
    assert "Traceback" not in said
    [line] = [line for line in said.splitlines() if line.startswith("progan: ")]
    assert "Read-only file system" in line


@pytest.mark.slow
@pytest.mark.parametrize(("command", "told"), [("summary", "version 1, alias"), ("plan", "8 tasks to do")])
def test_a_project_that_is_only_looked_at(journey, small_disk, tmp_path, command, told):
    """Its registry lies in it, too."""
    journey.undisturbed("register")
    project = shutil.copytree(journey.project, small_disk("64m"), dirs_exist_ok=True)
    subprocess.run(["mount", "-o", "remount,ro", project], check=True)
    code, said = Command(command, project, tmp_path / "log").end()
    assert (code, told in said) == (0, True), said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("build-dataset", "data/raw/faces"),
        ("train r0004", "data/multires/r0004/train-00000-of-00001.parquet"),
        ("evaluate r0004", "params.yaml"),
        ("evaluate r0004", "checkpoints/r0004/networks.safetensors"),
        ("gate", "evaluation/r0004.json"),
        ("gate", "dvc.yaml"),
        ("report", "history/r0004.csv"),
        ("register", "verdict.json"),
        ("register", "checkpoints/r0004"),
    ],
)
def test_a_file_that_may_not_be_read(journey, tmp_path, command, file):
    project = shutil.copytree(journey.undisturbed(command).before, tmp_path / "project")
    (project / file).chmod(0)
    words = [*WITHOUT_PRIVILEGES, sys.executable, "-P", "-c", "from pipelines.cli import main; main()"]
    try:
        done = subprocess.run([*words, *command.split()], cwd=project, capture_output=True, text=True)
    finally:
        (project / file).chmod(0o755)
    assert done.returncode == 2, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("progan: ")]
    assert file in line
    assert re.search("[Pp]ermission|not readable", line)
    task = stages.task(config.load(project / "params.yaml"), *command.split())
    assert not [output.path for output in task.outputs if (project / output.path).exists()]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_random_moments(journey, tmp_path, command):
    undisturbed, moments = journey.undisturbed(command), random.Random(command)
    project = shutil.copytree(undisturbed.before, tmp_path / "project")
    for _ in range(8):
        Command(command, project, tmp_path / "log").kill_after(moments.uniform(0, undisturbed.seconds))
    code, said = Command(command, project, tmp_path / "log").end()
    assert code == 0, said
    assert outputs(command, project) == undisturbed.outputs
