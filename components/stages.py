"""The tasks of a run, as dvc.yaml declares their stages.

Kubeflow's pipeline, the plans, the shared results and the layout of a run's files are derived from them. A
task is a stage, of one phase if the stage has phases: train@r0008.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache, partial, reduce
from operator import getitem
from pathlib import Path, PurePosixPath
from posixpath import commonpath
from typing import Any, Literal

import yaml

from progan.config import Config
from progan.errors import InputError

NAME = "dvc.yaml"
VARIABLE = re.compile(r"\$\{([\w.-]+)\}")
PARAMETER_OF_ITEM = re.compile(r"\$\{item\.(\w+)\}")

Fill = Callable[[str], str]  # fills in the ${…} of a text


@dataclass(frozen=True)
class File:
    """A file or folder that a task reads or writes, by its path below the project's root."""

    name: str
    path: str
    whole: str  # the path of the output that contains it, which is what stages get

    def holds(self, path: str) -> bool:
        """Whether `path` is this one or lies in it."""
        return path == self.path or path.startswith(f"{self.path.rstrip('/')}/")

    def touches(self, other: "File") -> bool:
        """Whether one of the two is, or lies in, the other."""
        return self.holds(other.path) or other.holds(self.path)


@dataclass(frozen=True)
class Task:
    """A stage of a run, of one phase or other key if it has such."""

    stage: str
    key: str | None  # the item of `foreach`, such as the phase
    params: tuple[str, ...]  # names of the values in params.yaml that decide the result
    versioned: bool  # whether RESULTS_VERSION decides it too
    inputs: tuple[File, ...]
    outputs: tuple[File, ...]  # without the receipt
    receipt: str | None  # the path of the receipt of a task that is run once
    run: Literal["once", "always", "here"]
    gpus: Literal["one", "all"] | None

    @property
    def name(self) -> str:
        """As DVC calls it."""
        return self.stage if self.key is None else f"{self.stage}@{self.key}"

    @property
    def title(self) -> str:
        """As people read it: "train r0008"."""
        return self.name.replace("@", " ")

    def paths(self, root: Path = Path()) -> dict[str, Path]:
        """The inputs and outputs below `root`, by name; for several of one name, their common folder."""
        paths_by_name = defaultdict(set)
        for file in (*self.inputs, *self.outputs):
            paths_by_name[file.name].add(file.whole)
        return {name: root / commonpath(paths) for name, paths in paths_by_name.items()}

    def reads(self, other: "Task") -> bool:
        """Whether an output of the task `other` is among the inputs."""
        return any(file.touches(output) for file in self.inputs for output in other.outputs)


def tasks(config: Config) -> tuple[Task, ...]:
    """All tasks of a run, each after those that it reads from."""
    tasks: list[Task] = []
    params = asdict(config)
    for stage, declared in _declared().items():
        for key, item in _items(declared, params):
            fill = partial(_fill, {**params, "key": key, "item": item})
            tasks.append(_task(stage, key, declared.get("do", declared), fill, tasks))
    return tuple(tasks)


def task(config: Config, stage: str, key: str | None = None) -> Task:
    """One task of a run. Raises InputError if params.yaml has no such task."""
    of_stage = [task for task in tasks(config) if task.stage == stage]
    for each in of_stage:
        if each.key == key:
            return each
    known = ", ".join(each.key for each in of_stage if each.key) or "none"
    raise InputError(f"{stage} {key}: not in params.yaml; there are {known}")


def before(task: Task, all_tasks: Iterable[Task]) -> tuple[Task, ...]:
    """The tasks whose outputs `task` reads."""
    return tuple(other for other in all_tasks if task.reads(other))


def ancestors(task: Task, all_tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """The tasks on which `task` depends, directly or not, in the order of `all_tasks`."""
    upstream: list[Task] = []
    for other in reversed(all_tasks):
        if any(reader.reads(other) for reader in (task, *upstream)):
            upstream.insert(0, other)
    return tuple(upstream)


# ------------------------------------------------------------------------------------------------
# dvc.yaml


@cache
def _declared() -> dict[str, Any]:
    """The stages in the dvc.yaml of this code: in the checkout, or where the installation put it."""
    beside, installed = Path(__file__).parents[1] / NAME, Path(sys.prefix) / "share/progan" / NAME
    return yaml.safe_load((beside if beside.exists() else installed).read_text())["stages"]


def _fill(values: Mapping[str, Any], text: str) -> str:
    """`text` with the values of its ${…}, which are dotted names."""
    return VARIABLE.sub(lambda variable: str(reduce(getitem, variable[1].split("."), values)), text)


def _items(
    declared: Mapping[str, Any], params: Mapping[str, Any]
) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """The keys and values of `foreach`; (None, {}) alone for a stage without it."""
    if "foreach" not in declared:
        yield None, {}
        return
    section = VARIABLE.fullmatch(declared["foreach"])
    assert section is not None
    yield from params[section[1]].items()


def _task(
    stage: str, key: str | None, declared: Mapping[str, Any], fill: Fill, earlier: Iterable[Task]
) -> Task:
    earlier_outputs = [file for task in earlier for file in task.outputs]
    outputs = [_output(entry, fill) for kind in ("outs", "metrics") for entry in declared.get(kind, [])]
    params = declared.get("params", [])
    meta = declared["meta"]
    return Task(
        stage=stage,
        key=key,
        params=tuple(fill(name) for name in params if isinstance(name, str)),
        versioned=any(isinstance(name, dict) for name in params),
        inputs=tuple(_input(text, fill, earlier_outputs) for text in declared.get("deps", [])),
        outputs=tuple(file for file in outputs if file.name != "receipt"),
        receipt=next((file.path for file in outputs if file.name == "receipt"), None),
        run=meta["run"],
        gpus=meta.get("gpus"),
    )


def _input(text: str, fill: Fill, earlier_outputs: list[File]) -> File:
    """The name is that of the parameter that gives the path, else that of the output that contains it."""
    path = fill(text)
    output = next((file for file in earlier_outputs if file.holds(path)), None)
    whole = output.path if output else path
    if parameter := PARAMETER_OF_ITEM.fullmatch(text):
        return File(parameter[1], path, whole)
    return File(output.name if output else _first_part(path), path, whole)


def _output(entry: str | Mapping[str, Any], fill: Fill) -> File:
    text, about = next(iter(entry.items())) if isinstance(entry, Mapping) else (entry, {})
    path = fill(text)
    return File(about.get("type", _first_part(path)), path, path)


def _first_part(path: str) -> str:
    """ "history/r0008.csv" → "history", "verdict.json" → "verdict"."""
    return PurePosixPath(path).parts[0].partition(".")[0]
