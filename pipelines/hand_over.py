"""What was finished here, handed to a cluster before it would be made there again."""

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipelines import photographs
from pipelines.known_dataset import known_dataset
from progan.errors import InputError

if TYPE_CHECKING:
    from components.results import Results
    from pipelines.dvc import Checkout
    from pipelines.profile import Profile, Storage
    from progan.config import Config
    from progan.dataset.manifest import Manifest
    from progan.snapshots import Checkpoint


def hand_over_and_tell(config: "Config", profile: "Profile", dataset: Path) -> list[str]:
    """Bring to the cluster what this checkout has finished and it has not; what that was."""
    from pipelines.compiling import storage_of

    handed = hand_over(config, storage_of(config, profile), dataset)
    if handed:
        print(f"handed over: {', '.join(handed)}", file=sys.stderr)
    return handed


def hand_over(config: "Config", storage: "Storage", dataset: Path) -> list[str]:
    """Bring to `storage`, where it can be reached from here (s3://), what this checkout has finished and it
    has not; what that was, in words.

    dataset: where the built dataset lies, or what dvc.lock knows it by. Raises InputError when `storage`
    holds another one.
    """
    in_reach = [uri for uri in (storage.dataset, storage.results) if "://" in uri]
    if not in_reach or (manifest := known_dataset(config, str(dataset))) is None:
        return []
    handed = []
    if storage.dataset in in_reach and _hand_dataset(config, storage.dataset, dataset, manifest):
        handed.append("the dataset")
    if storage.results in in_reach:
        handed += _hand_results(config, storage.results, manifest)
    return handed


def _hand_dataset(config: "Config", uri: str, dataset: Path, manifest: "Manifest") -> bool:
    from components.object_store.dataset import find_manifest, upload_dataset
    from pipelines.dvc import Checkout
    from progan.dataset.manifest import MANIFEST_NAME

    there = find_manifest(uri)
    if there is not None and there != manifest:
        raise InputError(
            f"{uri}: holds the dataset {there.digest[:12]}, not {manifest.digest[:12]}, which {dataset} is; "
            "delete what lies there, or give another storage.datasets"
        )
    if there is not None or not (dataset / MANIFEST_NAME).exists():
        return False
    made_by = {photographs.origin(config), "build-dataset"}
    if photographs.origin(config) and made_by & set(Checkout().stale()):
        raise InputError(
            f"{dataset}: dvc.lock does not say that it is made of {config.dataset.path} as it is; "
            "run dvc repro build-dataset, and submit again"
        )
    upload_dataset(dataset, uri)
    return True


def _hand_results(config: "Config", uri: str, manifest: "Manifest") -> Iterator[str]:
    from components.results import Results
    from pipelines.dvc import Checkout

    here, kept = Checkout(), Results(uri, config, manifest.digest)
    phases = phases_to_hand(here, kept, manifest)
    for key in phases:
        _hand_phase(here, kept, key)
        yield key
    for stage in measures_to_hand(here, kept, phases):
        yield _hand_measures(here, kept, stage)


def phases_to_hand(here: "Checkout", kept: "Results", manifest: "Manifest") -> "dict[str, Checkpoint]":
    """The finished phases that are not kept yet, from the first on, as long as each began with the one before
    it; by what they say of themselves."""
    from components.results import made_from, started_from
    from progan.snapshots import Checkpoint

    found, before = {}, started_from(kept.config)
    for key, phase in kept.config.phases.items():
        facts = here.json(f"checkpoints/{key}/checkpoint.json")
        if facts is None or not made_from(before, kept.config, key, facts):
            break
        if facts["dataset"]["digest"] != manifest.level(phase.resolution).digest:
            break
        before, there = Checkpoint(Path("checkpoints", key), facts), kept.facts(key)
        if there is None:
            found[key] = before
        elif there["files"] != facts["files"]:
            break
    return found


def measures_to_hand(here: "Checkout", kept: "Results", handed: "dict[str, Checkpoint]") -> list[str]:
    """The stages among score-network and evaluate whose results are finished and not kept yet; evaluate only
    for a checkpoint that is kept, or among the phases that are `handed`.

    None where another score network is kept: what one measured does not compare with what the other does.
    """
    stale, there = here.stale(), kept.score_network()
    if "score-network" in stale or any(
        here.read(f"score_network/{name}") != content for name, content in there.items()
    ):
        return []
    found = [] if there else ["score-network"]
    for key, checkpoint in kept.finished(handed).items():
        if f"evaluate@{key}" in stale or kept.is_evaluated(key, checkpoint):
            continue
        evaluation = here.json(f"evaluation/{key}.json")
        if evaluation and evaluation["checkpoint"] == checkpoint.digest:
            found.append(f"evaluate@{key}")
    return found


def _hand_phase(here: "Checkout", kept: "Results", key: str) -> None:
    """Bring one phase from this folder, DVC's cache or its remote to the results."""
    from progan.snapshots import read_checkpoint

    with TemporaryDirectory(prefix="progan-") as name:
        checkpoint, history, grids = (Path(name) / part for part in ("checkpoint", "history.csv", "grids"))
        here.fetch(f"checkpoints/{key}", checkpoint)
        here.fetch(f"history/{key}.csv", history)
        here.fetch(f"grids/{key}", grids)
        kept.keep_training(key, read_checkpoint(checkpoint).folder, history, grids)


def _hand_measures(here: "Checkout", kept: "Results", stage: str) -> str:
    """Bring what `stage` made from where it lies to the results; what that is."""
    key = stage.partition("@")[2]
    with TemporaryDirectory(prefix="progan-") as name:
        if not key:
            here.fetch("score_network", Path(name, "network"))
            kept.keep_score_network(Path(name, "network"))
            return "the score network"
        files = f"evaluation/{key}.json", f"samples/{key}.png", f"samples/{key}-nearest.png"
        places = [Path(name) / Path(file).name for file in files]
        for file, place in zip(files, places, strict=True):
            here.fetch(file, place)
        kept.keep_evaluation(key, *places)
        return f"the evaluation of {key}"
