"""The plan of a run on this machine: what `dvc repro` would do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import stages
from components.receipts import Workspace
from components.results import Trace, trace
from components.stages import Task
from components.train.launch import gpus_here
from pipelines.dvc import NEVER_RUN, Fate, fates
from pipelines.planning.step_times import Machine, own_rates
from pipelines.planning.tasks import Place, Plan, plan_tasks
from progan.config import Config
from progan.dataset.manifest import MANIFEST_NAME, Manifest
from progan.dataset.reader import load_manifest
from progan.device import device_name
from progan.errors import InputError, Interrupted
from progan.store import Store

ROOT = Path()


def plan_here(config: Config, params: Any, dataset: Path, snapshots: str) -> Plan:
    """What `dvc repro` would do with `config`, which was parsed from the file contents `params`.

    dataset: the folder of the built dataset. snapshots: the folder or s3:// address of the snapshots.
    """
    machine = machine_here()
    task_fates = fates(ROOT, params)
    remarks: list[str] = []
    store = reachable_store(snapshots, "snapshots", remarks)
    if not task_fates:
        remarks.append("no DVC project here: earlier runs are unknown")
    manifest = _manifest(task_fates, dataset)
    place = _Here(
        config=config,
        fates_here=task_fates,
        traces=_traces(config, manifest),
        own_rates=own_rates(config, ROOT, machine.device),
        manifest=manifest,
        snapshots=store,
        this_machine=machine,
    )
    gpus = f"{machine.gpus} × " if machine.gpus else ""
    return Plan(
        place=f"dvc repro, here on {gpus}{machine.device}",
        ends_early=True,
        tasks=tuple(plan_tasks(place, stages.tasks(config))),
        remarks=tuple(remarks),
    )


def is_up_to_date(params: Any) -> bool:
    """Whether dvc.lock has the results of everything that the file contents `params` describe."""
    task_fates = fates(ROOT, params)
    return bool(task_fates) and not any(fate.runs for fate in task_fates.values())


def machine_here() -> Machine:
    """This machine with as many GPUs as PROGAN_GPUS says, or its CPU."""
    import torch

    return Machine(device_name(), gpus_here() if torch.cuda.is_available() else 0)


def reachable_store(uri: str, name: str, remarks: list[str]) -> Store | None:
    """The store at `uri`; None, with a remark that begins with `name`, if it cannot be read from here."""
    from components.object_store import open_store

    try:
        store = open_store(uri)
        if Path(uri).is_absolute() and not Path(uri).exists():
            raise InputError(f"{uri}: cannot be read from here")
        store.names("")
    except (InputError, Interrupted) as error:
        remarks.append(f"{name}: {error}; counted as empty")
        return None
    return store


def _manifest(task_fates: dict[str, Fate], dataset: Path) -> Manifest | None:
    """The manifest of the built dataset; None if there is none or it would be built again."""
    fate = task_fates.get("build-dataset", Fate((NEVER_RUN,)))
    return load_manifest(dataset) if not fate.runs and (dataset / MANIFEST_NAME).exists() else None


def _traces(config: Config, manifest: Manifest | None) -> dict[str, Trace]:
    if manifest is None:
        return {}
    return {each.task.name: each for each in trace(config, manifest, Workspace(ROOT))}


@dataclass(frozen=True)
class _Here(Place):
    """This machine as a Place."""

    this_machine: Machine

    dataset_copies = 2  # one of them in DVC's cache

    def fate(self, task: Task) -> Fate:
        return self.fates_here.get(task.name, Fate((NEVER_RUN,)))

    def machine(self, task: Task) -> Machine:
        return self.this_machine if task.gpus else Machine("CPU", 0)
