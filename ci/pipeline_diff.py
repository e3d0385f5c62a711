"""How two compiled pipelines differ: each change said once, with the tasks that it is made in.

Every task carries all parameters, so that a difference of lines would say the same a dozen times.
"""

import contextlib
import difflib
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import yaml

PIPELINE = "the pipeline"  # what belongs to no task
CHANNEL = "pipelinechannel--"  # begins Kubeflow's names of what one task hands to another
DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
Change = tuple[str, str | None, str | None]  # a path, its value before and after; None: it is not there
SCAFFOLDING = {  # what a path goes through that tells a reader nothing
    *("dag", "tasks", "components", "deploymentSpec", "executors", "platforms", "kubernetes"),
    *("inputs", "inputDefinitions", "parameters", "runtimeValue", "container", "root"),
}


def difference(before: str, after: str) -> list[str]:
    """The lines of a diff between the texts that `progan compile` wrote; none if they do the same."""
    old, new = _leaves_by_task(before), _leaves_by_task(after)
    lines = [f"-{task}" for task in old if task not in new]
    lines += [f"+{task}" for task in new if task not in old]
    both = [task for task in new if task in old]
    every = tuple(task for task in both if "image" in new[task])
    for tasks, changes in _changes_by_tasks(both, old, new).items():
        lines.append(f" {'every task' if tasks == every else ', '.join(tasks)}")
        for change in changes:
            lines += _shown(*change)
    return lines


def _leaves_by_task(text: str) -> dict[str, dict[str, str]]:
    """{task: {path: value}}; what belongs to no task is the pipeline's."""
    documents = list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    names = dict(_names(documents[0]))
    keys = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    mentioned = re.compile(rf"(?<={CHANNEL})({keys})(?=-)|^({keys})$", re.MULTILINE)
    found: dict[str, dict[str, str]] = {PIPELINE: {}}
    for path, value in _leaves(documents):
        if any(part.startswith(CHANNEL) for part in path):
            continue  # what tasks depend on says the same
        given = path.index("constant") if "constant" in path else len(path)
        structure, inside = path[1:given], path[given + 1 :]  # what follows may be called as a task is
        named = [names[part] for part in structure if part in names]
        shown = [*(part for part in structure if part not in SCAFFOLDING and part not in names), *inside]
        told = [mentioned.sub(lambda key: names[key[0]], text) for text in (".".join(shown), str(value))]
        found.setdefault(named[-1] if named else PIPELINE, {})[told[0]] = told[1]
    return found


def _names(pipeline: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """From the keys of tasks, their components and executors, which count, to the names that people read."""
    components = pipeline["components"]
    for graph in [pipeline["root"], *components.values()]:
        for key, task in graph.get("dag", {}).get("tasks", {}).items():
            component = task["componentRef"]["name"]
            name = task["taskInfo"]["name"]
            executor = components[component].get("executorLabel", component)
            yield from ((each, name) for each in (key, component, executor))


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values that are no mappings or lists of such, those inside of JSON too."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value)):
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
    """What changes in the same tasks, together."""
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


def _shown(path: str, old: str | None, new: str | None) -> list[str]:
    if "\n" in f"{old}{new}":  # code
        lines = difflib.unified_diff((old or "").splitlines(), (new or "").splitlines(), n=1, lineterm="")
        return [f"   {path}:", *list(lines)[2:]]
    told = ((sign, value) for sign, value in (("-", old), ("+", new)) if value is not None)
    return [f"{sign}  {path}: {DIGEST.sub(lambda digest: f'{digest[1]}…', value)}" for sign, value in told]
