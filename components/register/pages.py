"""The descriptions of models, versions and runs on MLflow's pages, in Markdown.

MLflow does not allow embedded pictures: a picture is an artifact of the run, at its address on the server.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from components.evaluate.evaluation import Evaluation
from components.evaluate.measures import MEASURES, SWD, Values, measures_in
from components.evaluate.samples import classes_shown
from components.gate.verdict import Verdict
from components.papers import PAPERS
from components.register.finished_runs import PREVIEW
from components.register.registry import CANDIDATE, CHAMPION, PREVIOUS_CHAMPION
from components.tracking.client import DEFAULT_TRACKING_URI, public_address, tracking_uri
from progan.config import Config
from progan.dataset.manifest import Manifest
from progan.history import History, Total
from progan.progress import duration

LONGEST = 5000  # characters of a description in MLflow's database


@dataclass(frozen=True)
class RunDetails:
    """Everything that the descriptions of one training run contain."""

    config: Config
    verdict: Verdict
    manifest: Manifest | None
    histories: dict[str, History]  # by phase key
    evaluations: dict[str, Evaluation]  # by phase key
    commit: str
    run: str  # id of the MLflow run of all phases

    @property
    def resolution(self) -> int:
        return self.verdict.candidate.resolution


def describe_version(
    details: RunDetails, version: str, links: Sequence[str] = (), signer: str | None = None
) -> str:
    """The description of a version of the model.

    links: to pages about it, in Markdown. signer: who signed it, None if nobody did.
    """
    signature = [f"Signed by `{signer}`."] if signer else []
    serving = "### Serve it", _serving_commands(details, version)
    return _joined(*_run_sections(details, links), *signature, *serving, *_reproduction(details))


def describe_run(details: RunDetails) -> str:
    """The description of the run of all phases, registered or not."""
    return _joined(*_run_sections(details), *_reproduction(details))


def describe_phase(details: RunDetails, key: str, run: str) -> str:
    """The description of `run`, the run of one phase."""
    phase, measures = details.config.phase(key), details.evaluations[key].measures
    return _joined(
        f"{phase.resolution} × {phase.resolution} px: {_listed(measures)}. "
        f"{_cost(details.histories[key].total)}",
        _picture(details, run, phase.resolution),
        "*Model metrics* shows the curves over the real images shown (*Step*) since the first phase began, "
        "and, with a slider, images of the same latents during this phase. *Artifacts* has the checkpoint if "
        "the run passed the gate.",
    )


def describe_model(details: RunDetails) -> str:
    """The description of the registered model."""
    network = details.config.network
    paper, channels = PAPERS[network.architecture], "grey" if network.channels == 1 else "colour"
    return _joined(
        f"{paper.kind} ({paper.authors}) that generates {channels} images of {details.resolution} × "
        f"{details.resolution} px like those of {_dataset_name(details)}: latents or seeds in, images out.",
        "To choose a version, open its page: the description shows samples, its measures beside the "
        "champion's, and why it passed the gate.",
        _table(
            [
                ["alias", "version that"],
                [f"`{CHAMPION}`", "is served"],
                [f"`{CANDIDATE}`", "passed the gate last"],
                [f"`{PREVIOUS_CHAMPION}`", "was champion before: `progan rollback` goes back to it"],
            ]
        ),
        "This command makes a version champion; the tags of the version say who ran it, when and why:",
        _commands("progan promote VERSION --expect CURRENT --why '…'"),
    )


def artifact_link(experiment: str, run: str, artifact: str, text: str) -> str:
    """A link to the page of MLflow that shows an artifact of `run`."""
    return f"[{text}](#/experiments/{experiment}/runs/{run}/artifacts/{artifact})"


def _run_sections(details: RunDetails, links: Sequence[str] = ()) -> Iterator[str]:
    yield _headline(details)
    yield _picture(details, details.run, details.resolution)
    yield from links
    yield f"### The gate: {'passed' if details.verdict.passed else 'FAILED'}"
    yield "<br>".join(map(str, details.verdict.reasons))
    yield _measure_table(details)
    yield "### Training"
    yield _dataset(details)
    for key, start in details.config.warm_start.items():
        yield f"Warm start from the checkpoint of {key} of {start.model} version {start.version}."
    yield f"{_cost(Total.of(details.histories.values()))} Commit: `{details.commit}`."
    yield _phase_table(details)


def _headline(details: RunDetails) -> str:
    """The first line, the only one that the list of versions shows."""
    verdict = details.verdict
    measures = _listed(verdict.candidate.measures)
    return f"{'Passed' if verdict.passed else 'FAILED'}: {measures}; {details.resolution} px"


def _listed(measures: Values) -> str:
    """ "SWD × 1000 26.5, MS-SSIM 0.301"."""
    rows = (row for row in MEASURES if row.name in measures)
    return ", ".join(f"{row.title} {row.text(measures[row.name])}" for row in rows)


def _picture(details: RunDetails, run: str, resolution: int) -> str:
    """The samples of `run`, by their address relative to MLflow's page, and a caption."""
    address = f"get-artifact?{urlencode({'path': PREVIEW, 'run_uuid': run})}"
    caption = f"Real images left, generated ones right, {resolution} × {resolution} px."
    classes = details.manifest.classes if details.manifest else ()
    if names := [each.name for each in classes[: classes_shown(details.config.network, resolution)]]:
        caption += f" A row of each class, from the top: {', '.join(names)}."
    return f"![]({address})\n\n*{caption}*"


def _measure_table(details: RunDetails) -> str:
    measures, champion = details.verdict.candidate.measures, details.verdict.champion
    columns = ["this run", *([f"champion (version {champion.version})"] if champion else [])]
    rows = [["measure", *columns, "real images", "how to read it"]]
    for row in measures_in([measures]):
        values = [measures.get(row.name), *([champion.measures.get(row.name)] if champion else [])]
        values.append(measures.get(row.reals) if row.reals else None)
        rows.append([row.title, *map(row.text, values), row.reading])
    caption = "*Real images*: the same measure between two sets of real images."
    return f"{_table(rows)}\n\n{caption}{'' if champion else ' There was no champion to compare with.'}"


def _phase_table(details: RunDetails) -> str:
    totals = {key: history.total for key, history in details.histories.items()}
    price = ["price"] if any(total.price for total in totals.values()) else []
    rows = [["phase", "kimg", "time", "device", *price, "images/s", SWD.title]]
    for key, total in totals.items():
        speed = total.images / total.seconds if total.seconds else None
        swd = SWD.text(details.evaluations[key].measures.get(SWD.name))
        facts = key, f"{total.kimg:g}", duration(total.seconds), ", ".join(total.devices) or "–"
        cost = [total.price or "–"] if price else []
        rows.append([*facts, *cost, "–" if speed is None else f"{speed:.4g}", swd])
    return f"{_table(rows)}\n\nkimg: thousands of real images shown."


def _cost(total: Total) -> str:
    """ "Trained for 600 kimg in 3h 20m on 2 × NVIDIA H100 (6.7 GPU-hours, 12.06 USD)."."""
    if not total.images:
        return "Not trained here: its weights were imported."
    devices = f" on {', '.join(total.devices)}" if total.devices else ""
    costs = [f"{total.gpu_seconds / 3600:.1f} GPU-hours"] if total.gpu_seconds else []
    costs += [total.price] if total.price else []
    cost = f" ({', '.join(costs)})" if costs else ""
    return f"Trained for {total.kimg:g} kimg in {duration(total.seconds)}{devices}{cost}."


def _dataset_name(details: RunDetails) -> str:
    return f"**{details.manifest.name}**" if details.manifest else "a dataset that is no longer available"


def _dataset(details: RunDetails) -> str:
    manifest, size = details.manifest, f"{details.resolution} × {details.resolution} px"
    if manifest is None:
        return f"Dataset: {_dataset_name(details)}."
    classes = f" of {len(manifest.classes)} classes" if manifest.classes else ""
    return (
        f"Dataset {_dataset_name(details)} ({manifest.source}): {manifest.images:,} images{classes}, "
        f"at up to {size}, digest `{details.verdict.candidate.dataset}`."
    )


def _serving_commands(details: RunDetails, version: str) -> str:
    """Serve the version and request images; of the first class if the generator is conditional."""
    label = {"label": "0"} if details.config.network.label_size else {}
    request = json.dumps({"inputs": {"seeds": [1, 2, 3]}, "params": label | {"format": "png"}})
    return _commands(
        f"mlflow models serve --model-uri models:/{details.config.register.model}/{version} "
        "--env-manager local --port 5001",
        "curl localhost:5001/invocations --header 'Content-Type: application/json' \\",
        f"    --data '{request}'",
    )


def _reproduction(details: RunDetails) -> tuple[str, str]:
    """The section with the commands that reproduce the run."""
    gpus = Total.of(details.histories.values()).gpus
    return "### Reproduce it", _commands(
        _checkout(details.commit),
        "make setup",
        f".venv/bin/mlflow artifacts download --run-id {details.run} \\",
        "    --artifact-path params.yaml --dst-path .",
        f"PROGAN_GPUS={gpus} make run" if gpus > 1 else "make run",
    )


def _checkout(commit: str) -> str:
    if commit == "none":
        return "# in a checkout of the code, whose commit is unknown"
    changes = "  # there were uncommitted changes" if commit.endswith("+") else ""
    return f"git checkout {commit.removesuffix('+')}{changes}"


def _table(rows: list[list[str]]) -> str:
    """A table, the header first; a wide space separates the columns, which MLflow's page would not."""
    lines = [f"| {'&emsp; | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _commands(*lines: str) -> str:
    """A block of shell commands; it begins with the address of the registry unless that is the default."""
    address = public_address(tracking_uri())
    export = [] if address == DEFAULT_TRACKING_URI else [f"export MLFLOW_TRACKING_URI={address}"]
    return "\n".join(["```sh", *export, *lines, "```"])


def _joined(*paragraphs: str) -> str:
    return "\n\n".join(paragraphs)[:LONGEST]
