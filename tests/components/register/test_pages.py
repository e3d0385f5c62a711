"""The descriptions of runs, versions and models on MLflow's pages."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from components.evaluate.measures import MEASURES, swd_level
from components.gate.verdict import Verdict
from components.register import pages
from components.register.comparison import PAGE
from components.register.promotion import promote
from components.register.registry import Champion
from components.tracking.client import client
from progan.dataset.manifest import ClassCount, Level, Manifest
from progan.history import History
from tests.components.register.finished_run import change_evaluation, child_of, run_gate_and_register
from tests.evaluations import EVALUATION, evaluation, verdict
from tests.histories import history


def test_the_descriptions(run):
    """Of a version that is compared with a champion, of the model, and of the run."""
    run_gate_and_register(run)
    promote(run.register.model, "1", "none", "")
    change_evaluation("other", swd_average=45.0, ms_ssim=0.3)
    registration = run_gate_and_register(run)
    registry = client()
    description = registry.get_model_version(run.register.model, "2").description
    for text in (
        "Passed: SWD × 1000 45.0, MS-SSIM 0.300, Classifier score 2.00; 4 px",
        f"![](get-artifact?path=preview.png&run_uuid={registration.run})",
        "### The gate: passed",
        "✓ swd_average is 45; at most 55, 1.1 × the champion's 50",
        "| SWD × 1000&emsp; | 45.0&emsp; | 50.0&emsp; | –&emsp; | lower is better |",
        "| MS-SSIM&emsp; | 0.300&emsp; | 0.400&emsp; |",
        "champion (version 1)",
        "Dataset **noise** (folder): 0 images, at up to 4 × 4 px, digest `data`",  # as the tag `dataset`
        "Trained for 0.08 kimg in",
        "on 2 × NVIDIA H100",
        f"mlflow models serve --model-uri models:/{run.register.model}/2 --env-manager local",
        f"mlflow artifacts download --run-id {registration.run}",
        "PROGAN_GPUS=2 make run",
        registry.get_model_version(run.register.model, "2").tags["git_commit"],
    ):
        assert text in description
    assert "price" not in description
    assert "There was no champion" in registry.get_model_version(run.register.model, "1").description
    assert "like those of **noise**" in registry.get_registered_model(run.register.model).description
    note = registry.get_run(registration.run).data.tags["mlflow.note.content"]
    description = re.sub(r"\[(Try|The same) seeds.*\n\n", "", description)  # the version's only
    before, _, after = description.partition("### Serve it")
    assert note == before + "### Reproduce" + after.partition("### Reproduce")[2]


def test_a_conditional_run(run):
    """The caption names the class of each row, and the request has the label that the server requires."""
    run_gate_and_register(run)
    classes = tuple(ClassCount(name, 1) for name in ("cats", "dogs", "birds"))
    manifest = Manifest(2, "folder", "pets", {}, 3, 3, classes, 0, 0, (), {}, {"r0004": Level.of([])})
    judgement, evaluations = Verdict.read(Path("verdict.json")), {"r0004": evaluation()}
    histories = {"r0004": History.read(Path("history/r0004.csv"))}

    def descriptions(label_size):
        config = replace(run, network=replace(run.network, label_size=label_size))
        details = pages.RunDetails(config, judgement, manifest, histories, evaluations, "none", "abc")
        return pages.describe_version(details, "1"), pages.describe_phase(details, "r0004", "def")

    version, phase = descriptions(3)
    for text in (version, phase):
        assert "4 × 4 px. A row of each class, from the top: cats, dogs, birds.*" in text
    request = re.search(r"--data '(.*)'", version)[1]
    assert json.loads(request)["params"] == {"label": "0", "format": "png"}
    for text in descriptions(0):
        assert "class," not in text
        assert "label" not in text


def test_the_cost_of_a_run_on_a_cluster(run):
    """In the descriptions of the version and of the phase's run."""
    card = {"device": "NVIDIA H100", "gpus": 2, "gpu_hour_price": "1.8 USD"}
    history(80, 12060.0, **card).write(Path("history/r0004.csv"))
    parent = run_gate_and_register(run).run
    description = client().get_model_version(run.register.model, "1").description
    cost = "Trained for 0.08 kimg in 3h 21m on 2 × NVIDIA H100 (6.7 GPU-hours, 12.06 USD)."
    assert cost in description
    assert cost in child_of(parent).data.tags["mlflow.note.content"]
    assert "| device&emsp; | price&emsp; |" in description
    assert "| 2 × NVIDIA H100&emsp; | 12.06 USD&emsp; |" in description


def test_measures_stand_beside_those_of_real_images(run):
    run_gate_and_register(run)
    swd = {"swd_32": 28.9, "swd_16": 24.2, "swd_average": 26.5}
    floor = {"swd_floor_32": 6.8, "swd_floor_16": 11.1, "swd_floor_average": 8.9}
    measures = swd | floor | {"ms_ssim": 0.3, "ms_ssim_reals": 0.2, "fid": 9.0}
    measured = replace(EVALUATION, measures=measures)
    histories = {"r0004": History.read(Path("history/r0004.csv"))}
    details = pages.RunDetails(run, verdict(measured), None, histories, {"r0004": measured}, "none", "abc")
    table = [
        line.split("&emsp;")[:3] for line in pages.describe_run(details).splitlines() if line[:2] == "| "
    ]
    assert ["".join(cells).replace("| ", " ").split() for cells in table[1:6]] == [
        ["SWD", "×", "1000", "26.5", "8.9"],
        ["SWD", "at", "16", "px", "24.2", "11.1"],
        ["SWD", "at", "32", "px", "28.9", "6.8"],
        ["MS-SSIM", "0.300", "0.200"],
        ["FID", "9.0", "–"],
    ]


def test_the_longest_description_fits_into_the_database(run):
    """Nine phases of a conditional model, each on different GPUs, with every measure a run can have."""
    phases = {f"r{2**level:04d}": run.phases["r0004"] for level in range(2, 11)}
    card = {"gpus": 8, "gpu_hour_price": "12.34 USD"}
    histories = {
        key: history(12_000_000, 1e6, device=f"NVIDIA A100-SXM4-80GB {key}", **card) for key in phases
    }
    exclusive = "classifier_score", "modes", "modes_kl"  # never beside the Inception score
    rows = [row for row in MEASURES if row.name not in exclusive] + [swd_level(2**n) for n in range(4, 11)]
    measures = {name: 1 / 3 for row in rows for name in (row.name, row.reals) if name}
    measured = replace(EVALUATION, resolution=1024, measures=measures)
    judgement = verdict(
        measured,
        text="swd_average is 23.86; at most 29.17, 1.1 × the champion's 26.51",
        champion=Champion("12", "data", 1024, measures),
    )
    judgement = replace(judgement, reasons=judgement.reasons * 5)
    classes = tuple(ClassCount("c" * 20, 1) for _ in range(40))
    manifest = Manifest(2, "celeba-hq", "n" * 40, {}, 200_000, 3, classes, 0, 0, (), {}, {})
    network, model = replace(run.network, label_size=40), replace(run.register, model="m" * 60)
    details = pages.RunDetails(
        replace(run, network=network, register=model), judgement, manifest, histories,
        dict.fromkeys(phases, measured), "c" * 40, "r" * 32,
    )  # fmt: skip
    link = pages.artifact_link(
        "1" * 18, "r" * 32, PAGE, "The same seeds beside version 12, the champion then"
    )
    assert pages.describe_version(details, "123", [link, link]).endswith("make run\n```")


@pytest.mark.slow
def test_the_pages_of_a_server(run, tracking, browser, monkeypatch):
    """The version's page, its run and a phase, as they appear in a browser."""
    for name, value in tracking.environment.items():
        monkeypatch.setenv(name, value)
    parent = run_gate_and_register(run).run
    version = client().get_model_version(run.register.model, "1")
    experiment, child = client().get_run(parent).info.experiment_id, child_of(parent).info.run_id
    names = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
    page = browser(tracking.server.url, tuple(tracking.environment[name] for name in names))

    page.open(f"#/models/{run.register.model}/versions/1")
    assert page.picture("preview.png") == (830, 415)
    page.shows(
        "candidate",
        "Passed: SWD × 1000 50.0",
        "✓ swd_average is 50; at most 1e+06",
        "There was no champion to compare with.",
        "Dataset noise (folder): 0 images",
        "Trained for 0.08 kimg in",
        "on 2 × NVIDIA H100",
        version.tags["git_commit"],
        f"mlflow models serve --model-uri models:/{run.register.model}/1",
        "make run",
    )
    page.open(f"#/experiments/{experiment}/runs/{parent}")
    page.shows("Child runs", "r0004", "noise (", "network.latent_size", "v1")
    page.open(f"#/experiments/{experiment}/runs/{child}/model-metrics")
    page.shows("curves", "d_loss", "swd", "alpha", "curves/same latents", "measures")
    page.open(f"#/experiments/{experiment}/runs/{child}/system-metrics")
    page.shows("gpu_percent", "cpu_percent")
