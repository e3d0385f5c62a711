"""What MLflow's pages say of a model, a version and a run, in Markdown.

A picture is an artifact of the run, by its address on the same server: MLflow lets none be part of the text.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from components.evaluate.evaluation import Evaluation
from components.evaluate.measures import MEASURES, SWD, Values, taken
from components.evaluate.stage import classes_shown
from components.gate.verdict import Verdict
from components.register.registry import (
    CANDIDATE,
    CHAMPION,
    DEFAULT_TRACKING_URI,
    PREVIOUS_CHAMPION,
    public_address,
    tracking_uri,
)
from components.register.runs import PREVIEW
from progan.config import Config
from progan.dataset.manifest import Manifest
from progan.history import History, Total
from progan.progress import duration

LONGEST = 5000  # characters that MLflow's database holds


@dataclass(frozen=True)
class RunStory:
    """All that the pages tell of one training run."""

    config: Config
    verdict: Verdict
    manifest: Manifest | None
    histories: dict[str, History]  # by phase key
    evaluations: dict[str, Evaluation]  # by phase key
    commit: str
    run: str

    @property
    def resolution(self) -> int:
        return self.verdict.candidate.resolution


def of_version(story: RunStory, version: str) -> str:
    """The description of a model's version."""
    return _joined(
        *_of_run(story), "### Serve it", _serve(story, version), "### Make it again", _reproduce(story)
    )


def of_run(story: RunStory) -> str:
    """The description of the run of all phases, registered or not."""
    return _joined(*_of_run(story), "### Make it again", _reproduce(story))


def of_phase(story: RunStory, key: str, run: str) -> str:
    """The description of `run`, that of one phase."""
    phase, measures = story.config.phase(key), story.evaluations[key].measures
    return _joined(
        f"{phase.resolution} × {phase.resolution} px: {_listed(measures)}. "
        f"{_cost(story.histories[key].total)}",
        _picture(story, run, phase.resolution),
        "Model metrics has the curves against kimg (Step), counted since the first phase began, and, with a "
        "slider, what became of the same latents in this phase. Artifacts has its checkpoint, if the run "
        "passed the gate.",
    )


def of_model(story: RunStory) -> str:
    """The description of the registered model."""
    channels = "grey" if story.config.network.channels == 1 else "colour"
    return _joined(
        f"A progressive GAN (Karras et al. 2018) that makes {channels} images of {story.resolution} × "
        f"{story.resolution} px like those of {_dataset_name(story)}: latents or seeds in, images out.",
        "To choose, open a version: its description shows samples, its measures beside the champion's, and "
        "why it passed the gate.",
        _table(
            [
                ["alias", "the version that"],
                [f"`{CHAMPION}`", "is served"],
                [f"`{CANDIDATE}`", "passed the gate last"],
                [f"`{PREVIOUS_CHAMPION}`", "was champion before: `progan rollback` goes back to it"],
            ]
        ),
        "A version becomes champion by this command alone; its tags say who did it, when and why:",
        _block("progan promote VERSION --expect CURRENT --why '…'"),
    )


def _of_run(story: RunStory) -> Iterator[str]:
    yield f"{_headline(story)}"
    yield _picture(story, story.run, story.resolution)
    yield f"### The gate: {'passed' if story.verdict.passed else 'FAILED'}"
    yield "<br>".join(map(str, story.verdict.reasons))
    yield _measure_table(story)
    yield "### Made of"
    yield _dataset(story)
    for key, start in story.config.warm_start.items():
        yield f"Went on from {start.model} version {start.version} as it was after {key}."
    yield f"{_cost(Total.of(story.histories.values()))} The code's commit is `{story.commit}`."
    yield _phase_table(story)


def _headline(story: RunStory) -> str:
    """What the list of versions shows, which shows nothing more."""
    verdict = story.verdict
    measures = _listed(verdict.candidate.measures)
    return f"{'Passed' if verdict.passed else 'FAILED'}: {measures}; {story.resolution} px"


def _listed(measures: Values) -> str:
    """Such as "SWD × 1000 26.5, MS-SSIM 0.301"."""
    rows = (row for row in MEASURES if row.name in measures)
    return ", ".join(f"{row.title} {row.text(measures[row.name])}" for row in rows)


def _picture(story: RunStory, run: str, resolution: int) -> str:
    """The samples of `run`, by their address relative to MLflow's page, and what they show."""
    address = f"get-artifact?{urlencode({'path': PREVIEW, 'run_uuid': run})}"
    shown = f"Real images left, generated ones right, {resolution} × {resolution} px."
    classes = story.manifest.classes if story.manifest else ()
    if names := [each.name for each in classes[: classes_shown(story.config.network, resolution)]]:
        shown += f" A row of each class, from the top: {', '.join(names)}."
    return f"![]({address})\n\n*{shown}*"


def _measure_table(story: RunStory) -> str:
    measures, champion = story.verdict.candidate.measures, story.verdict.champion
    columns = ["this one", *([f"champion (version {champion.version})"] if champion else [])]
    rows = [["measure", *columns, "real images", "how to read it"]]
    for row in taken([measures]):
        values = [measures.get(row.name), *([champion.measures.get(row.name)] if champion else [])]
        values.append(measures.get(row.reals) if row.reals else None)
        rows.append([row.title, *map(row.text, values), row.reading])
    caption = "Under *real images*, what other real images measure in the generated ones' place."
    return f"{_table(rows)}\n\n{caption}{'' if champion else ' There was no champion to compare with.'}"


def _phase_table(story: RunStory) -> str:
    totals = {key: history.total for key, history in story.histories.items()}
    price = ["price"] if any(total.price for total in totals.values()) else []
    rows = [["phase", "kimg", "time", "on", *price, "images/s", SWD.title]]
    for key, total in totals.items():
        speed = total.images / total.seconds if total.seconds else None
        measured = SWD.text(story.evaluations[key].measures.get(SWD.name))
        facts = key, f"{total.kimg:g}", duration(total.seconds), ", ".join(total.devices) or "–"
        paid_for = [total.price or "–"] if price else []
        rows.append([*facts, *paid_for, "–" if speed is None else f"{speed:.4g}", measured])
    return f"{_table(rows)}\n\nkimg: thousands of real images shown."


def _cost(total: Total) -> str:
    """ "Trained for 600 kimg in 3h 20m on 2 × NVIDIA H100 (6.7 GPU-hours, 12.06 USD)."."""
    if not total.images:
        return "Not trained here: its weights were imported."
    where = f" on {', '.join(total.devices)}" if total.devices else ""
    costs = [f"{total.gpu_seconds / 3600:.1f} GPU-hours"] if total.gpu_seconds else []
    costs += [total.price] if total.price else []
    cost = f" ({', '.join(costs)})" if costs else ""
    return f"Trained for {total.kimg:g} kimg in {duration(total.seconds)}{where}{cost}."


def _dataset_name(story: RunStory) -> str:
    return f"**{story.manifest.name}**" if story.manifest else "a dataset that is not here any more"


def _dataset(story: RunStory) -> str:
    manifest, size = story.manifest, f"{story.resolution} × {story.resolution} px"
    if manifest is None:
        return f"Dataset: {_dataset_name(story)}."
    classes = f" of {len(manifest.classes)} classes" if manifest.classes else ""
    return (
        f"Dataset {_dataset_name(story)} ({manifest.source}): {manifest.images:,} images{classes}, at up to "
        f"{size}, digest `{manifest.digest}`."
    )


def _serve(story: RunStory, version: str) -> str:
    """Of a conditional generator, images of the first class: it needs one."""
    label = {"label": "0"} if story.config.network.label_size else {}
    asked = json.dumps({"inputs": {"seeds": [1, 2, 3]}, "params": label | {"format": "png"}})
    return _block(
        f"mlflow models serve --model-uri models:/{story.config.register.model}/{version} "
        "--env-manager local --port 5001",
        "curl localhost:5001/invocations --header 'Content-Type: application/json' \\",
        f"    --data '{asked}'",
    )


def _reproduce(story: RunStory) -> str:
    gpus = Total.of(story.histories.values()).gpus
    return _block(
        _checkout(story.commit),
        "make setup",
        f".venv/bin/mlflow artifacts download --run-id {story.run} \\",
        "    --artifact-path params.yaml --dst-path .",
        f"PROGAN_GPUS={gpus} make run" if gpus > 1 else "make run",
    )


def _checkout(commit: str) -> str:
    if commit == "none":
        return "# in a folder of the code; the commit is not known"
    differed = "  # files differed from it" if commit.endswith("+") else ""
    return f"git checkout {commit.removesuffix('+')}{differed}"


def _table(rows: list[list[str]]) -> str:
    """Rows, the header first; a wide space keeps the columns apart, as MLflow's page does not."""
    lines = [f"| {'&emsp; | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _block(*lines: str) -> str:
    """Commands; where the registry is not the default, with its address."""
    address = public_address(tracking_uri())
    exported = [] if address == DEFAULT_TRACKING_URI else [f"export MLFLOW_TRACKING_URI={address}"]
    return "\n".join(["```sh", *exported, *lines, "```"])


def _joined(*paragraphs: str) -> str:
    return "\n\n".join(paragraphs)[:LONGEST]
