"""What is recorded about a trained generator: in the registry, or beside its checkpoint."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from components import stages
from components.evaluate.evaluation import Evaluation
from components.evaluate.measures import Values
from components.pictures.sources import checkpoint_of
from progan import config as params_file
from progan.checkpoints import FACTS, Checkpoint, CheckpointFacts, read_checkpoint
from progan.config import Config, PhaseConfig
from progan.dataset.manifest import MANIFEST_NAME
from progan.dataset.reader import load_manifest
from progan.errors import InputError
from progan.history import History, Total
from progan.validation import from_json, parse_yaml

PAINTED = "painted"  # source of a dataset that `progan paint` has made


@dataclass(frozen=True)
class Record:
    """A generator, and what is recorded about it."""

    name: str  # the address of its folder, or that of its version
    checkpoint: Checkpoint
    params: dict[str, Any]  # the sections of params.yaml that are known to have decided it
    phases: dict[str, PhaseConfig]  # those that are known, by key, the lowest first
    measures: Values = field(default_factory=dict)
    measured_images: int | None = None  # from which the SWD was computed
    source: str | None = None  # of the dataset, as dataset.source names it, or PAINTED
    training: Total | None = None  # what it took
    model: str | None = None  # of the registry
    version: str | None = None
    aliases: tuple[str, ...] = ()
    commit: str | None = None

    @property
    def facts(self) -> CheckpointFacts:
        return self.checkpoint.facts

    def knows(self, parameter: str) -> bool:
        """Whether it is known what the parameter of this dotted name was, if it was one."""
        section, _, rest = parameter.partition(".")
        if section == "phases" and self.version is None:
            return rest.partition(".")[0] in self.phases
        return section in self.params


def record_of(address: str) -> Record:
    """The record of the generator at `address`: see `components.pictures.sources.checkpoint_of`."""
    if Path(address).suffix == ".onnx":
        raise InputError(
            f"{address}: an ONNX file has neither parameters nor measures; name its checkpoint or version"
        )
    if address.startswith("models:"):
        return version_record(address)
    return _folder_record(address)


# ------------------------------------------------------------------------------------------------
# In the registry


def version_record(uri: str, checkpoint: Checkpoint | None = None) -> Record:
    """The record of the version at `uri`. checkpoint: its own, if that need not be fetched."""
    from components.register.download import in_registry, version_at
    from components.register.registry import TRAINING, numbers_in

    with in_registry(uri):
        version = version_at(uri)
        address = f"models:/{version.name}/{version.version}"
        config = _logged_config(version.run_id, address)
    tags: dict[str, str] = version.tags
    try:
        training = from_json(Total, json.loads(tags[TRAINING])) if TRAINING in tags else None
        measured_images, commit = int(tags["swd_images"]), tags["git_commit"]
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{address}: without the tags of progan register ({error}); register it again"
        ) from None
    return Record(
        name=address,
        checkpoint=checkpoint or checkpoint_of(address),
        params=asdict(config),
        phases=config.phases,
        measures=numbers_in(tags),
        measured_images=measured_images,
        source=_source(config.dataset.source, Path(config.dataset.path).name, config),
        training=training,
        model=version.name,
        version=str(version.version),
        aliases=tuple(version.aliases),
        commit=commit,
    )


def _logged_config(run: str, address: str) -> Config:
    """The parameters of a run; those that its version of this project did not have yet at their defaults."""
    from mlflow.artifacts import load_text

    where = f"{address}, params.yaml"
    return params_file.parse(parse_yaml(load_text(f"runs:/{run}/params.yaml"), where), where)


# ------------------------------------------------------------------------------------------------
# In folders


def _folder_record(address: str) -> Record:
    checkpoint = checkpoint_of(address)
    facts = checkpoint.facts
    phases = {each.phase: each.schedule for each in _phases_until(checkpoint) if each.schedule}
    values = {"network": facts.network, "training": facts.training}
    sections = {name: asdict(value) for name, value in values.items() if value}
    if phases:
        sections["phases"] = {key: asdict(phase) for key, phase in phases.items()}
    record = Record(address.rstrip("/"), checkpoint, sections, phases)
    return _with_results(record, checkpoint.folder.resolve().parents[1])


def _phases_until(checkpoint: Checkpoint) -> list[CheckpointFacts]:
    """The finished phases beside `checkpoint` that it began with, the lowest first, and its own."""
    folders = [file.parent for file in checkpoint.folder.parent.glob(f"*/{FACTS}")]
    by_digest = {each.digest: each.facts for each in (read_checkpoint(folder, []) for folder in folders)}
    phases = [checkpoint.facts]
    while before := by_digest.get(phases[0].init or ""):
        phases.insert(0, before)
    return phases


def _with_results(record: Record, root: Path) -> Record:
    """`record` with what the other stages of the project in `root` have made of the checkpoint."""
    try:
        config = params_file.load(root / "params.yaml")
    except InputError:  # the checkpoint lies elsewhere
        return record
    paths, facts = stages.task(config, "report").paths(root), record.facts
    evaluation = paths["evaluation"] / f"{facts.phase}.json"
    if (
        evaluation.exists()
        and (evaluated := Evaluation.read(evaluation)).checkpoint == record.checkpoint.digest
    ):
        histories = [History.read(paths["history"] / f"{key}.csv") for key in record.phases]
        record = replace(
            record,
            measures=evaluated.measures,
            measured_images=evaluated.swd_images,
            training=Total.of(histories) if all(history.rows for history in histories) else None,
        )
    if (paths["dataset"] / MANIFEST_NAME).exists():
        manifest = load_manifest(paths["dataset"])
        level = manifest.levels.get(facts.phase)
        if level and level.digest == facts.dataset.digest:
            return replace(record, source=_source(manifest.source, manifest.name, config))
    return record


def _source(source: str, name: str, config: Config) -> str:
    return PAINTED if name in config.paint else source
