"""The difference between two compiled pipelines: each change once, with the tasks that it affects.

Every task carries all parameters, so a diff of the lines would repeat a change a dozen times.
"""

import contextlib
import difflib
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import yaml

from progan.errors import InputError

PIPELINE = "the pipeline"  # in place of a task, for values that belong to none
CHANNEL = "pipelinechannel--"  # prefix of the outputs of one task that another reads
DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
Change = tuple[str, str | None, str | None]  # a path, its old and new value; None: it has none
SCAFFOLDING = {  # parts of paths that tell a reader nothing
    *("dag", "tasks", "components", "deploymentSpec", "executors", "platforms", "kubernetes"),
    *("inputs", "inputDefinitions", "parameters", "runtimeValue", "container", "root"),
}


def difference(before: str, after: str) -> list[str]:
    """The lines of a diff between two outputs of `progan compile`; none if the pipelines do the same.

    Raises InputError for what is no such output.
    """
    try:
        old, new = _leaves_by_task(before), _leaves_by_task(after)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise InputError("pipeline.yaml: not a pipeline that `progan compile` wrote") from None
    lines = [f"-{task}" for task in old if task not in new]
    lines += [f"+{task}" for task in new if task not in old]
    common = [task for task in new if task in old]
    with_image = tuple(task for task in common if "image" in new[task])
    for tasks, changes in _changes_by_tasks(common, old, new).items():
        lines.append(f" {'every task' if tasks == with_image else ', '.join(tasks)}")
        for change in changes:
            lines += _diff_lines(*change)
    return lines


def _leaves_by_task(text: str) -> dict[str, dict[str, str]]:
    """{task: {path: value}}, with PIPELINE for values that belong to no task."""
    documents = list(yaml.safe_load_all(text))
    names = dict(_names(documents[0]))
    keys = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    key_pattern = re.compile(rf"(?<={CHANNEL})({keys})(?=-)|^({keys})$", re.MULTILINE)

    def with_names(text: str) -> str:
        return key_pattern.sub(lambda key: names[key[0]], text)

    leaves: dict[str, dict[str, str]] = {PIPELINE: {}}
    for path, value in _leaves(documents):
        if any(part.startswith(CHANNEL) for part in path):
            continue  # dependentTasks has the same information
        constant = path.index("constant") if "constant" in path else len(path)
        structure, inside = (
            path[1:constant],
            path[constant + 1 :],
        )  # a part of `inside` may equal a task's key
        tasks = [names[part] for part in structure if part in names]
        parts = [*(part for part in structure if part not in SCAFFOLDING and part not in names), *inside]
        task = tasks[-1] if tasks else PIPELINE
        leaves.setdefault(task, {})[with_names(".".join(parts))] = with_names(str(value))
    return leaves


def _names(pipeline: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, display name) of tasks; their components and executors have the same numbered keys."""
    components = pipeline["components"]
    for graph in [pipeline["root"], *components.values()]:
        for key, task in graph.get("dag", {}).get("tasks", {}).items():
            component = task["componentRef"]["name"]
            name = task["taskInfo"]["name"]
            executor = components[component].get("executorLabel", component)
            yield from ((numbered, name) for numbered in (key, component, executor))


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path, value) of all values but mappings and lists of mappings; JSON in strings is parsed."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _leaves(inner, (*path, str(key)))
    elif isinstance(value, list):
        yield path, "\n".join(map(str, value))
    else:
        yield path, value


def _changes_by_tasks(
    tasks: list[str], old: dict[str, dict[str, str]], new: dict[str, dict[str, str]]
) -> dict[tuple[str, ...], list[Change]]:
    """The changes, grouped by the tasks that they affect."""
    tasks_by_change: dict[Change, list[str]] = defaultdict(list)
    for task in tasks:
        for path in dict.fromkeys([*old[task], *new[task]]):
            change = path, old[task].get(path), new[task].get(path)
            if change[1] != change[2]:
                tasks_by_change[change].append(task)
    changes_by_tasks: dict[tuple[str, ...], list[Change]] = defaultdict(list)
    for change, changed in tasks_by_change.items():
        changes_by_tasks[tuple(changed)].append(change)
    return changes_by_tasks


def _diff_lines(path: str, old: str | None, new: str | None) -> list[str]:
    if "\n" in f"{old}{new}":  # code
        lines = difflib.unified_diff((old or "").splitlines(), (new or "").splitlines(), n=1, lineterm="")
        return [f"   {path}:", *list(lines)[2:]]
    return [
        f"{sign}  {path}: {DIGEST.sub(lambda digest: f'{digest[1]}…', value)}"
        for sign, value in (("-", old), ("+", new))
        if value is not None
    ]
