"""Refuse what compiles and runs here, and fails only on a cluster, days later."""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from progan.errors import InputError

if TYPE_CHECKING:
    from pipelines.profile import Profile
    from progan.config import Config


def read_pipeline(pipeline: Path) -> str:
    try:
        return pipeline.read_text()
    except OSError as error:
        raise InputError(
            f"{pipeline}: cannot be read ({error.strerror}); write one: progan compile"
        ) from None


def refuse(text: str, config: "Config", profile: "Profile") -> None:
    """Print what is wrong with the compiled pipeline `text` and raise InputError; nothing if all is well."""
    found = list(findings(text, config, profile))
    for line in found:
        print(line, file=sys.stderr)
    if found:
        raise InputError(f"the pipeline would fail on a cluster: {len(found)} found, see above")


def findings(text: str, config: "Config", profile: "Profile") -> Iterator[str]:
    """One line for everything that is wrong, with the tasks in which it is."""
    tasks, found = list(_tasks(text)), defaultdict[str, list[str]](list)
    for task in tasks:
        for line in _image(task):
            found[line].append(task.name)
    for line, names in found.items():
        yield f"{'every task' if len(names) == len(tasks) else ', '.join(names)}: {line}"
    yield from _shares(config, profile)
    yield from _gpu_memory(config, profile)


@dataclass(frozen=True)
class _Task:
    """A task of the compiled pipeline with what belongs to it."""

    name: str
    function: str  # of the component, such as train
    spec: dict[str, Any]
    container: dict[str, Any]
    kubernetes: dict[str, Any]


def _tasks(text: str) -> Iterator[_Task]:
    import yaml

    try:
        spec, *platform = yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        executors = spec["deploymentSpec"]["executors"]
        placed = platform[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if platform else {}
        graphs = [spec["root"], *spec["components"].values()]
        for name, task in (
            item for graph in graphs if "dag" in graph for item in graph["dag"]["tasks"].items()
        ):
            component = spec["components"][task["componentRef"]["name"]]
            if label := component.get("executorLabel"):
                container = executors[label]["container"]
                function = container["args"][container["args"].index("--function_to_execute") + 1]
                shown = task["taskInfo"]["name"]
                yield _Task(shown or name, function, task, container, placed.get(label, {}))
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"no compiled pipeline of this project ({error!r}); write one: progan compile"
        ) from None


def _image(task: _Task) -> Iterator[str]:
    image = task.container["image"]
    digest = re.search(r"@sha256:([0-9a-f]{64})$", image)
    if digest is None:
        yield f"image {image} has no digest: the cache cannot tell it from others; name it @sha256:…"
    elif set(digest[1]) == {"0"}:
        yield f"image {image} is the example's; name the one you pushed in infra/cluster.yaml or by --image"


def _shares(config: "Config", profile: "Profile") -> Iterator[str]:
    from progan.distributed import check_shares

    for key, phase in config.phases.items():
        try:
            check_shares(config, phase, max(1, profile.pod(key).gpus))
        except InputError as error:
            yield f"train {key}: {error}"


def _gpu_memory(config: "Config", profile: "Profile") -> Iterator[str]:
    from progan.memory import training_bytes

    for key in config.phases:
        pod = profile.pod(key)
        needed = training_bytes(config, key, pod.gpus) / 2**30 if pod.gpus else 0
        if needed > pod.gpu_memory_gib:
            yield (
                f"train {key}: takes about {needed:.0f} GiB a GPU, a card has {pod.gpu_memory_gib:g}; "
                f"lower phases.{key}.minibatch, or give it more or larger GPUs"
            )
