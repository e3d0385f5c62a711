"""The page that shows a version beside the champion, as an artifact of its run."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.register.pages import artifact_link
from components.register.registry import CHAMPION, find_champion
from progan.checkpoints import NETWORKS, read_checkpoint

PAGE = "compare.html"
COMPARED = "compared_with"  # tag of the run: the version that the page shows beside its own
IMAGES = 8  # of each generator; one of each class if there are more classes


def log_comparison(mlflow_client: Any, model: str, version: str, checkpoint: Path, run: str) -> None:
    """Log the page of `version` beside the champion to its `run`, if another version is champion.

    It is no reason for a registration to fail: an error is one line.

    checkpoint: the folder of the version's own.
    """
    champion = find_champion(model)
    compared = mlflow_client.get_run(run).data.tags.get(COMPARED)
    if champion is None or champion.version in (version, compared):
        return
    try:
        page = _page(model, version, checkpoint, champion.version)
        mlflow_client.log_text(run, page, PAGE)
        mlflow_client.set_tag(run, COMPARED, champion.version)
    except Exception as error:
        print(f"{PAGE}: left out: {' '.join(str(error).split())}", file=sys.stderr)


def comparison_link(mlflow_client: Any, run: str) -> list[str]:
    """The link to the page of a run, in Markdown; none if it has no page."""
    info, tags = (logged := mlflow_client.get_run(run)).info, logged.data.tags
    if COMPARED not in tags:
        return []
    text = f"The same seeds beside version {tags[COMPARED]}, the champion then"
    return [artifact_link(info.experiment_id, run, PAGE, text)]


def _page(model: str, version: str, checkpoint: Path, champion: str) -> str:
    from components.pictures.compare import classes_of, comparison
    from components.pictures.records import version_record

    own = version_record(f"models:/{model}/{version}", read_checkpoint(checkpoint, [NETWORKS]))
    others = version_record(f"models:/{model}/{champion}")
    records = [replace(own, aliases=()), replace(others, aliases=(CHAMPION,))]  # other aliases will change
    classes: Sequence[str | None] = classes_of(records)[:IMAGES] or [None]
    return comparison(records, range(IMAGES // len(classes)), classes, lambda done, total: None)
