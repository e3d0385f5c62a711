"""The identity of a task: the hash of everything that decides its result, and of nothing else.

These are its parameters, the digests of its inputs, and RESULTS_VERSION. Where the task runs is no part of
it, nor is a parameter at its neutral value (`deciding`): adding one causes nothing to run again.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components import stages
from components.stages import Task
from progan import RESULTS_VERSION
from progan.checkpoints import FACTS, NETWORKS, read_checkpoint
from progan.config import Config
from progan.dataset.manifest import MANIFEST_NAME, Manifest
from progan.errors import InputError
from progan.files import digest_of, sha256_file
from progan.validation import default_of

Digests = Mapping[str, str]  # of files and folders, by their paths below the project's root


def identity(config: Config, task: Task, digests: Digests) -> str | None:
    """The identity of `task`; None while the digest of an input is unknown."""
    if any(file.path not in digests for file in task.inputs):
        return None
    facts = {
        "stage": task.stage,
        "params": deciding(config, task.params),
        "inputs": {file.path: digests[file.path] for file in task.inputs},
    }
    return digest_of(facts | ({"results_version": RESULTS_VERSION} if task.versioned else {}))


def digests_of_dataset(folder: str, manifest: Manifest) -> dict[str, str]:
    """The digests of the dataset at the path `folder`: of the whole, of each resolution, of its manifest.

    The manifest itself counts by its format alone: what it says of a resolution, that digest covers, and a
    resolution that is added causes no phase to be trained again.
    """
    levels = {f"{folder}/{key}": level.digest for key, level in manifest.levels.items()}
    return {folder: manifest.digest, f"{folder}/{MANIFEST_NAME}": digest_of(manifest.format), **levels}


def digest_of_files(files: Digests) -> str:
    """The digest of an output, from those of its files.

    A checkpoint counts by its networks alone: checkpoint.json also names the machine's software.
    """
    networks = [digest for name, digest in files.items() if Path(name).name == NETWORKS]
    return networks[0] if networks else digest_of(files)


def digest_of_path(path: Path) -> str:
    """The digest of an output at `path`; of a checkpoint, as its facts give it."""
    if (path / FACTS).exists():
        return read_checkpoint(path, needed=()).digest
    return digest_of_files(
        {file.relative_to(path).as_posix(): sha256_file(file) for file in files_below(path)}
    )


def files_below(path: Path) -> list[Path]:
    """The files in the folder `path`, or it alone if it is one."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


# ------------------------------------------------------------------------------------------------
# Names that must be known before the inputs exist


def dataset_name(config: Config, photographs: str) -> str:
    """The folder of a dataset among others, by source and identity.

    photographs: their digest; empty if unknown.
    """
    task = stages.task(config, "build-dataset")
    name = identity(config, task, {file.path: photographs for file in task.inputs})
    return f"{config.dataset.source}-{str(name)[:12]}"


def state_of(config: Config) -> str:
    """Digest of every parameter that decides a result, and of RESULTS_VERSION."""
    names = sorted({name for task in stages.tasks(config) for name in task.params})
    return digest_of({"params": deciding(config, names), "results_version": RESULTS_VERSION})


def cache_key(config: Config, task: Task, dataset_digest: str, results: str) -> str:
    """The key of a task in Kubeflow's cache: the parameters of all tasks before it, and the dataset.

    results: the address of the results. A task that the cache answers stores nothing there, so another
    address needs another key.
    """
    lineage = [*_after_the_dataset(config, task), task]
    names = sorted({name for each in lineage for name in each.params})
    version = RESULTS_VERSION if any(each.versioned for each in lineage) else None
    facts = {"params": deciding(config, names), "results_version": version}
    return f"{task.name}-{digest_of([facts, dataset_digest, results])}"


def _after_the_dataset(config: Config, task: Task) -> Iterable[Task]:
    """The ancestors of `task`, except the dataset and its own, which the dataset's digest covers."""
    tasks = stages.tasks(config)
    dataset = stages.task(config, "build-dataset")
    covered = {dataset.name, *(other.name for other in stages.ancestors(dataset, tasks))}
    return [other for other in stages.ancestors(task, tasks) if other.name not in covered]


# ------------------------------------------------------------------------------------------------
# Parameters


def deciding(config: Config, names: Iterable[str]) -> dict[str, Any]:
    """The parameters with these dotted names, such as "phases.r0008", as plain JSON values for an identity.

    Parameters at their neutral value are left out, so that adding one leaves identities as they were.
    """
    known, not_neutral = dataclasses.asdict(config), _without_neutral(config)
    names = list(names)
    for name in names:
        if parameter(known, name) is dataclasses.MISSING:
            raise InputError(f"parameter {name}: not in params.yaml; add it there or correct the name")
    values = {name: parameter(not_neutral, name) for name in names}
    return {name: value for name, value in values.items() if value is not dataclasses.MISSING}


def parameter(values: Any, name: str) -> Any:
    """The value with this dotted name in nested mappings; dataclasses.MISSING if there is none."""
    for part in name.split("."):
        if not isinstance(values, dict) or part not in values:
            return dataclasses.MISSING
        values = values[part]
    return values


def _without_neutral(value: Any) -> Any:
    """`value` as plain JSON values, without the fields of dataclasses that have their default."""
    if dataclasses.is_dataclass(value):
        items = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {field.name: _without_neutral(item) for field, item in items if item != default_of(field)}
    if isinstance(value, dict):
        return {key: _without_neutral(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_neutral(item) for item in value]
    return value
