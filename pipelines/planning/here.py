"""The plan of a run on this machine: what `dvc repro` would do."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import stages
from components.gate.verdict import Verdict
from components.receipts import Workspace
from components.register.registration import Registration
from components.results import Trace, trace
from components.stages import Task
from components.train.launch import gpus_here
from pipelines import photographs
from pipelines.dvc import NEVER_RUN, Fate, fates
from pipelines.planning.step_times import Machine, own_rates
from pipelines.planning.tasks import Place, Plan, plan_tasks
from progan.config import Config
from progan.dataset.manifest import MANIFEST_NAME, Manifest
from progan.dataset.reader import load_manifest
from progan.dataset.sources.by_name import find_source
from progan.device import device_name
from progan.errors import InputError, Interrupted
from progan.store import Store

ROOT = Path()


def plan_here(config: Config, params: Any, dataset: Path, snapshots: str) -> Plan:
    """What `dvc repro` would do with `config`, which was parsed from the file contents `params`.

    dataset: the folder of the built dataset. snapshots: the folder or s3:// address of the snapshots.
    """
    machine = machine_here()
    task_fates, remarks = fates(ROOT, params), remarks_on(config)
    store = reachable_store(snapshots, "snapshots", remarks)
    if not task_fates:
        remarks.append("no DVC project here: earlier runs are unknown")
    manifest, missing = _manifest(task_fates, dataset), _missing_photographs(config, task_fates)
    if missing and photographs.origin(config):
        remarks.append(f"{missing}: not here; run dvc pull first")
        missing = None
    place = _Here(
        config=config,
        fates_here=task_fates,
        traces=_traces(config, manifest),
        own_rates=own_rates(config, ROOT, machine.device),
        manifest=manifest,
        snapshots=store,
        this_machine=machine,
    )
    if not any(fate.runs for fate in task_fates.values()):
        remarks += registry_remarks(config)
    gpus = f"{machine.gpus} × " if machine.gpus else ""
    return Plan(
        place=f"dvc repro, here on {gpus}{machine.device}",
        ends_early=True,
        tasks=tuple(plan_tasks(place, stages.tasks(config))),
        remarks=tuple(remarks),
        obstacle=f"{missing}: no such folder or archive; check dataset.path" if missing else "",
    )


def remarks_on(config: Config) -> list[str]:
    """What is odd about the dataset of a run. Raises InputError if there is no such source."""
    find_source(config.dataset)
    top, last = config.dataset.resolution, config.phase(config.last_phase).resolution
    return (
        [f"dataset.resolution: no phase uses {top} px; {last} would do, or a phase is missing"]
        if top > last
        else []
    )


def registry_remarks(config: Config) -> list[str]:
    """A remark if the registry lacks what was registered here, so that `make run` registers again."""
    from components.report.summary import registered

    paths = stages.task(config, "report").paths()
    with suppress(InputError):  # there is no verdict or no registration yet
        facts = registered(Verdict.read(paths["verdict"]), Registration.read(paths["registration"]))
        if not facts["up_to_date"]:
            return [f"registry: {facts['registered']}; make run registers again"]
    return []


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


def _missing_photographs(config: Config, task_fates: dict[str, Fate]) -> Path | None:
    """The path of the photographs if they are not here, no stage paints them and a dataset is to be built."""
    path = Path(config.dataset.path)
    is_to_be_built = task_fates.get("build-dataset", Fate()).runs
    return path if is_to_be_built and not path.exists() and not photographs.painted(config) else None


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
