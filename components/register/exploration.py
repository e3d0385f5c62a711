"""The page in which a version's generator runs in the browser, as an artifact of its run."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.register.pages import artifact_link
from progan.checkpoints import NETWORKS, read_checkpoint

PAGE = "explore.html"
LARGEST_LOGGED = 30_000_000  # bytes of a page in float16


def log_exploration(
    mlflow_client: Any, model: str, version: str, checkpoints: Sequence[Path], run: str
) -> list[str]:
    """Log the page of `version` to its `run`, unless the run has it; returns the link to it, in Markdown.

    The page has the phases of all `checkpoints`, the version's own last, or that alone if all are too large.
    If that is too large too, the text is the command that writes it. An error is one line and no link; the
    registration goes on.
    """
    if PAGE not in [artifact.path for artifact in mlflow_client.list_artifacts(run)]:
        try:
            content = _page(model, version, checkpoints)
            if content is None:
                return [
                    f"To try seeds and truncation in the browser: `progan explore models:/{model}/{version}`"
                ]
            mlflow_client.log_text(run, content, PAGE)
        except Exception as error:
            print(f"{PAGE}: left out: {' '.join(str(error).split())}", file=sys.stderr)
            return []
    experiment = mlflow_client.get_run(run).info.experiment_id
    return [artifact_link(experiment, run, PAGE, "Try seeds, truncation and growth in the browser")]


def _page(model: str, version: str, checkpoints: Sequence[Path]) -> str | None:
    """None: it is too large to be logged with each version."""
    from components.pictures.explore import Shown, least_size, page

    *earlier, last = checkpoints
    own = Shown.of(read_checkpoint(last, [NETWORKS]), f"models:/{model}/{version}")
    if least_size([own]) > LARGEST_LOGGED:
        return None
    phases = [*(Shown.of(read_checkpoint(each, [NETWORKS]), None) for each in earlier), own]
    return page(f"{model} version {version}", phases if least_size(phases) <= LARGEST_LOGGED else [own])
