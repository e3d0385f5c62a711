"""Run the cluster's pipeline on this machine, task by task, in processes or containers."""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from docker.errors import APIError, DockerException
from docker.types import DeviceRequest, Mount
from kfp import local

from components.object_store import open_store
from pipelines.known_dataset import planned_dataset
from pipelines.placement import in_this_environment, with_image
from pipelines.profile import Storage
from pipelines.progressive_training import progressive_training
from progan.config import Config
from progan.errors import InputError, Unavailable
from progan.files import disk_errors
from progan.store import Store


def run_here(config: Config, dataset: str, results: str | None, root: Path, image: str | None) -> bool:
    """Run the pipeline and print where its report is; return whether the run is complete.

    dataset, results: a folder or an s3:// address; None for results in `root`.
    image: the image of the containers; None for processes.
    """
    root = root.resolve()
    results = _absolute(results or str(root / "results"))
    storage = Storage(_absolute(dataset), str(root / "snapshots"), results)
    digest = planned_dataset(config, dataset)
    store = open_store(results)
    with disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
    name = str(uuid4())
    succeeded = _run_pipeline(config, storage, digest, root, image, name)
    page = f"runs/{name}/report/report.html"
    if page in store.names(f"runs/{name}"):
        print(f"report: {results}/{page}")
    return succeeded and _is_complete(store, name, config.last_phase)


def _absolute(uri: str) -> str:
    return uri if "://" in uri else str(Path(uri).resolve())


def _is_complete(store: Store, run: str, last_phase: str) -> bool:
    """Whether a run was registered, or failed its gate at an earlier phase than the last.

    kfp's answer is not enough: it takes a failed task for a success if the container is gone before kfp asks.
    """
    if f"runs/{run}/registration.json" in store.names(f"runs/{run}"):
        return True
    verdict = json.loads(store.read(f"runs/{run}/verdict.json") or "null")
    return verdict is not None and not verdict["passed"] and verdict["phase"] != last_phase


def _run_pipeline(
    config: Config, storage: Storage, dataset_digest: str, root: Path, image: str | None, run: str
) -> bool:
    """Run the pipeline in containers of `image`, or in processes; return whether kfp saw no error."""
    os.environ["PYTHONSAFEPATH"] = "1"  # tasks import the installed packages, not those in this folder
    place = with_image(image) if image else in_this_environment
    pipeline = progressive_training(config, storage, dataset_digest, place, run)
    runner = _docker_runner() if image else local.SubprocessRunner(use_venv=False)
    # kfp deletes the workspace after each run; by default it is a new folder.
    local.init(runner, pipeline_root=str(root), enable_caching=True, cache_root=str(root / "cache"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="kfp")
        try:
            pipeline()
        except RuntimeError as error:
            print(click.unstyle(str(error)), file=sys.stderr)
            return False
        except APIError as error:
            raise InputError(f"--image {image}: {error.explanation}; build or pull it") from error
        except DockerException as error:
            raise Unavailable(f"Docker: {error}; start it, or leave out --runner docker") from error
    return True


def _docker_runner() -> Any:
    """Containers with this folder at the same path; they run the image's own code."""
    import torch

    folder = str(Path.cwd())
    prefixes = ("MLFLOW_", "AWS_", "OMP_")  # with another number of threads the last bits differ
    environment = {name: value for name, value in os.environ.items() if name.startswith(prefixes)}
    gpus = [DeviceRequest(count=-1, capabilities=[["gpu"]])] if torch.cuda.is_available() else None
    return local.DockerRunner(
        entrypoint="env",  # the image's own entry point is `progan`
        working_dir=folder,
        mounts=[Mount(folder, folder, type="bind")],
        environment={**environment, "PYTHONSAFEPATH": "1", "HOME": "/tmp"},
        user=f"{os.getuid()}:{os.getgid()}",
        network_mode="host",
        shm_size="8g",
        device_requests=gpus,
    )
