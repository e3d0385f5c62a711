"""A run on this machine: what `dvc repro` would do."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from components import stages
from components.receipts import Workspace
from components.results import trace
from components.stages import Task
from components.train.launch import gpus_here
from pipelines.dvc import NEVER_RUN, Fate, fates
from pipelines.planning.step_times import Machine, Measured, own_rates
from pipelines.planning.tasks import Plan, PlannedTask, planned
from progan.config import Config
from progan.dataset.manifest import MANIFEST_NAME, Manifest
from progan.dataset.reader import load_manifest
from progan.device import device_name
from progan.errors import InputError, Interrupted
from progan.store import Store

ROOT = Path()


def plan_here(config: Config, params: Any, dataset: Path, snapshots: str) -> Plan:
    """What `dvc repro` would do with `config`, which the file contents `params` describe.

    dataset: the folder of the built one. snapshots: their folder, or s3:// address.
    """
    device = device_here()
    known = fates(ROOT, params)
    remarks: list[str] = []
    store = reachable(snapshots, "snapshots", remarks)
    if not known:
        remarks.append("no DVC project here: nothing is known of earlier runs")
    own = own_rates(config, ROOT, device.device)
    place = _Here(config, known, device, own, _manifest(known, dataset), store)
    gpus = f"{device.gpus} × " if device.gpus else ""
    return Plan(
        f"dvc repro, here on {gpus}{device.device}",
        True,
        tuple(planned(config, place, stages.tasks(config))),
        tuple(remarks),
    )


def is_up_to_date(params: Any) -> bool:
    """Whether dvc.lock has the results of everything that the file contents `params` describe."""
    known = fates(ROOT, params)
    return bool(known) and not any(fate.runs for fate in known.values())


def device_here() -> Machine:
    """This machine's card, as often as PROGAN_GPUS says, or its CPU."""
    import torch

    return Machine(device_name(), gpus_here() if torch.cuda.is_available() else 0)


def reachable(uri: str, what: str, remarks: list[str]) -> Store | None:
    """The store at `uri`; None, with a remark, when it cannot be asked from here."""
    from components.object_store import open_store

    try:
        store = open_store(uri)
        if Path(uri).is_absolute() and not Path(uri).exists():
            raise InputError(f"{uri}: cannot be seen from here")
        store.names("")
    except (InputError, Interrupted) as error:
        remarks.append(f"{what}: {error}; counted as if there were none")
        return None
    return store


def _manifest(known: dict[str, Fate], dataset: Path) -> Manifest | None:
    """The dataset's, as long as it will not be built again."""
    if known.get("build-dataset", Fate((NEVER_RUN,))).runs or not (dataset / MANIFEST_NAME).exists():
        return None
    return load_manifest(dataset)


@dataclass(frozen=True)
class _Here:
    """This machine as a Place."""

    config: Config
    fates: dict[str, Fate]
    device: Machine
    own: tuple[Measured, ...]
    manifest: Manifest | None
    snapshots: Store | None
    dataset_copies = 2  # DVC's cache has one

    def fate(self, task: Task) -> Fate:
        return self.fates.get(task.name, Fate((NEVER_RUN,)))

    def identity(self, task: Task) -> str | None:
        return self._identities.get(task.name)

    @cached_property
    def _identities(self) -> dict[str, str | None]:
        if self.manifest is None:
            return {}
        found = trace(self.config, self.manifest, Workspace(ROOT))
        return {each.task.name: each.identity for each in found}

    def machine(self, task: Task) -> Machine:
        return self.device if task.gpus else Machine("CPU", 0)

    def placed(self, task: PlannedTask) -> PlannedTask:
        return task
