"""The identity of a task: the hash of all that decides its result, and nothing of where it runs.

That is its parameters, the digests of what it reads, and RESULTS_VERSION. A parameter at the value that means
"as before" does not enter it (progan/config.py), so that a new parameter has nothing done again.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from components import stages
from components.stages import Task
from progan import RESULTS_VERSION
from progan.checkpoints import FACTS, NETWORKS, read_checkpoint
from progan.config import Config, deciding
from progan.dataset.manifest import MANIFEST_NAME, Manifest
from progan.files import digest_of, sha256_file

Digests = Mapping[str, str]  # of files and folders, by their paths below the project's root


def identity(config: Config, task: Task, digests: Digests) -> str | None:
    """The identity of `task`; None while the digest of something that it reads is not known."""
    if any(file.path not in digests for file in task.inputs):
        return None
    facts = {
        "stage": task.stage,
        "params": deciding(config, task.params),
        "inputs": {file.path: digests[file.path] for file in task.inputs},
    }
    return digest_of(facts | ({"results_version": RESULTS_VERSION} if task.versioned else {}))


def digests_of_dataset(folder: str, manifest: Manifest) -> dict[str, str]:
    """The digests of a built dataset whose `folder` is this path: of all of it, and of each resolution.

    Its manifest says nothing else that decides a result, so that a dataset with more resolutions has no phase
    trained again.
    """
    levels = {f"{folder}/{key}": level.digest for key, level in manifest.levels.items()}
    return {folder: manifest.digest, f"{folder}/{MANIFEST_NAME}": digest_of(manifest.format), **levels}


def digest_of_files(files: Digests) -> str:
    """What tasks that read an output go by, of the digests of its files by their names.

    A checkpoint is its networks, which are the same on every machine that trained the same; what
    checkpoint.json says besides is not.
    """
    networks = [digest for name, digest in files.items() if Path(name).name == NETWORKS]
    return networks[0] if networks else digest_of(files)


def digest_of_path(path: Path) -> str:
    """The same, of a file or folder that lies here; a checkpoint's as its facts say it."""
    if (path / FACTS).exists():
        return read_checkpoint(path, needed=()).digest
    return digest_of_files(
        {file.relative_to(path).as_posix(): sha256_file(file) for file in files_below(path)}
    )


def files_below(path: Path) -> list[Path]:
    """The files in the folder `path`, or it alone if it is one."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


# ------------------------------------------------------------------------------------------------
# What has to be known before there are inputs


def dataset_name(config: Config, photographs: str) -> str:
    """What a dataset is called where several are kept, so that none is taken for another.

    photographs: a digest of them; empty where none is known.
    """
    task = stages.task(config, "build-dataset")
    name = identity(config, task, {file.path: photographs for file in task.inputs})
    return f"{config.dataset.source}-{str(name)[:12]}"


def state_of(config: Config) -> str:
    """Digest of every parameter that decides a result, and of RESULTS_VERSION."""
    every = stages.tasks(config)
    names = sorted({name for task in every for name in task.params})
    return digest_of({"params": deciding(config, names), "results_version": RESULTS_VERSION})


def cache_key(config: Config, task: Task, dataset_digest: str, results: str) -> str:
    """What Kubeflow's cache knows a task by: the parameters of all tasks that it comes from, and the dataset.

    results: where they are kept besides. What comes from the cache is not kept again, and so is not found at
    another address.
    """
    lineage = [*_after_the_dataset(config, task), task]
    names = sorted({name for each in lineage for name in each.params})
    version = RESULTS_VERSION if any(each.versioned for each in lineage) else None
    facts = {"params": deciding(config, names), "results_version": version}
    return f"{task.name}-{digest_of([facts, dataset_digest, results])}"


def _after_the_dataset(config: Config, task: Task) -> Iterable[Task]:
    """The ancestors of `task` without those that the dataset's digest stands for."""
    every = stages.tasks(config)
    dataset = stages.task(config, "build-dataset")
    made_by = {dataset.name, *(each.name for each in stages.ancestors(dataset, every))}
    return [each for each in stages.ancestors(task, every) if each.name not in made_by]
