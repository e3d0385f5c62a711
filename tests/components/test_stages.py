"""dvc.yaml as the code reads it is dvc.yaml as DVC reads it."""

import copy
import inspect
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from components import stages
from progan import config
from progan.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def warm(small_params):
    values = copy.deepcopy(small_params)
    del values["phases"]["r0004"]
    start = {"model": "faces", "version": "3", "checkpoint": "ab" * 32}
    return values | {"warm_start": {"r0004": start}}


def in_dvc(params, folder):
    """What DVC makes of dvc.yaml with these parameters, by the names of the stages."""
    from dvc.repo import Repo

    (folder / ".dvc").mkdir()
    (folder / "progan").mkdir()
    for name in ("dvc.yaml", ".dvc/config", "progan/__init__.py"):
        (folder / name).write_text((ROOT / name).read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    with Repo(str(folder), config={"core": {"no_scm": True}}) as repo:
        graph = repo.index.graph
        return {
            stage.addressing: {
                "command": stage.cmd,
                "deps": [dep.def_path for dep in stage.deps if not hasattr(dep, "params")],
                "outs": [out.def_path for out in stage.outs],
                "params": {name for dep in stage.params for name in dep.params},
                "before": {each.addressing for each in graph.successors(stage)},
            }
            for stage in repo.index.stages
        }


@pytest.mark.parametrize("kind", ["from nothing", "warm"])
def test_dvc_reads_the_same(kind, small_params, warm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = warm if kind == "warm" else small_params
    theirs, loaded = in_dvc(params, tmp_path), config.parse(params, "")
    ours = stages.tasks(loaded)
    assert {task.name for task in ours} == set(theirs)
    for number, task in enumerate(ours):
        told = theirs[task.name]
        assert told["command"] == f"progan {task.title}"
        assert [file.path for file in task.inputs] == told["deps"]
        made = [file.path for file in task.outputs] + ([task.receipt] if task.receipt else [])
        assert sorted(made) == sorted(told["outs"])
        assert {*task.params} == told["params"] - {"RESULTS_VERSION"}
        assert task.versioned == ("RESULTS_VERSION" in told["params"])
        assert {each.name for each in stages.before(task, ours)} == told["before"]
        assert told["before"] <= {each.name for each in ours[:number]}


def test_files_have_the_names_that_stages_take(small_config):
    """Of a first phase, whose `init` is no checkpoint, and of a later one."""
    first, later = (stages.task(small_config, "train", key).paths(Path("w")) for key in ("r0004", "r0008"))
    assert first["dataset"] == first["init"] == Path("w/data/multires")
    assert later == {
        "dataset": Path("w/data/multires"),
        "init": Path("w/checkpoints/r0004"),
        "checkpoint": Path("w/checkpoints/r0008"),
        "history": Path("w/history/r0008.csv"),
        "grids": Path("w/grids/r0008"),
    }
    assert stages.task(small_config, "evaluate", "r0008").paths()["nearest"] == Path(
        "samples/r0008-nearest.png"
    )
    assert stages.task(small_config, "report").paths()["report"] == Path("report")
    assert stages.task(small_config, "register").paths()["dataset"] == Path("data/multires")


def test_kubeflow_takes_and_gives_what_dvc_yaml_names(small_config):
    for task in stages.tasks(small_config):
        if task.run == "here":
            continue
        name = task.stage.replace("-", "_")
        component = getattr(import_module(f"components.{name}.component"), name)
        artifacts = {
            each for each, spec in component.component_spec.inputs.items() if spec.type.startswith("system.")
        }
        assert artifacts <= {file.name for file in task.inputs}, task.stage
        assert (task.receipt is not None) == (task.run == "once"), task.name
        if task.run == "once":
            assert set(component.component_spec.outputs) == {file.name for file in task.outputs}, task.stage
        assert inspect.getdoc(component.python_func)


def test_a_task_that_there_is_not_is_told(small_config):
    with pytest.raises(InputError, match="train r0064: not in params.yaml; there are r0004, r0008, r0016"):
        stages.task(small_config, "train", "r0064")
