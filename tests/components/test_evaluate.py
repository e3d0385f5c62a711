"""A finished phase measured: with a classifier of the labels, with Inception weights, with neither."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.evaluate.stage import _fakes_of, evaluate
from components.gate.stage import gate
from components.register.runs import RunFiles
from components.register.stage import register
from components.report.stage import ReportFiles, report
from components.score_network.stage import prepare_score_network
from components.train_phase.stage import train_phase
from progan.dataset.build import build
from progan.dataset.reader import load_images
from progan.errors import InputError
from progan.files import read_json, sha256_file
from progan.snapshots import read_checkpoint

DATASET, CHECKPOINT, NETWORK = Path("multires"), Path("checkpoints/r0004"), Path("score_network")
OUT, SAMPLES = Path("evaluation.json"), Path("samples.png")


@pytest.fixture
def trained(tmp_path, monkeypatch, small_config, photographs):
    """The configuration of a folder with two classes and a finished phase r0004."""
    monkeypatch.chdir(tmp_path)
    dataset = replace(small_config.dataset, source="folder", path=str(photographs), label_attributes=())
    config = replace(small_config, dataset=dataset)
    build(config.dataset, DATASET, workers=1)
    train_phase(config, "r0004", DATASET, None, Path("snapshots"), CHECKPOINT, Path("history.csv"))
    return config


def evaluated(config):
    prepare_score_network(config, DATASET, NETWORK)
    evaluate(config, "r0004", CHECKPOINT, DATASET, NETWORK, OUT, SAMPLES)
    return read_json(OUT)


def test_with_labels(trained):
    first = evaluated(trained)
    assert 1 <= first["classifier_score"] <= 2
    assert "inception_score" not in first
    assert first["swd_images"] == 16
    assert 0 < first["swd_floor"] < first["swd"]["average"]
    assert 0 <= first["ms_ssim"] <= 1
    assert evaluated(trained) == first
    reals = load_images(DATASET, 4)[0]
    sheet = np.asarray(Image.open(SAMPLES))
    np.testing.assert_array_equal(sheet[2 : 2 + 64 : 16, 2 : 2 + 64 : 16], reals[0].transpose(1, 2, 0))


def test_with_inception_weights(trained, inception_weights):
    digest = sha256_file(inception_weights)
    measures = replace(trained.measures, inception_weights=str(inception_weights), inception_sha256=digest)
    found = evaluated(replace(trained, measures=measures))
    assert {"inception_score", "inception_score_std", "fid", "kid", "kid_std"} <= found.keys()
    assert "classifier_score" not in found
    assert all(np.isfinite(found[name]) for name in ("inception_score", "fid", "kid"))


def test_with_another_file_than_the_one_named(trained, inception_weights):
    measures = replace(trained.measures, inception_weights=str(inception_weights), inception_sha256="0" * 64)
    with pytest.raises(InputError, match="SHA-256 is"):
        evaluated(replace(trained, measures=measures))
    assert not NETWORK.exists()


def test_with_neither(trained, tmp_path):
    folder = Path(trained.dataset.path)
    for number, path in enumerate(folder.rglob("*.png")):
        path.rename(folder / f"{number}.png")
    for empty in ("cats", "dogs"):
        (folder / empty).rmdir()
    build(trained.dataset, Path("unlabelled"), workers=1)
    prepare_score_network(trained, Path("unlabelled"), NETWORK)
    assert read_json(NETWORK / "score_network.json")["kind"] == "none"
    evaluate(trained, "r0004", CHECKPOINT, DATASET, NETWORK, OUT, SAMPLES)
    assert not [name for name in read_json(OUT) if "score" in name]


def test_a_checkpoint_of_another_phase(trained):
    prepare_score_network(trained, DATASET, NETWORK)
    with pytest.raises(InputError, match="holds phase r0004, not r0008; run that phase first"):
        evaluate(trained, "r0008", CHECKPOINT, DATASET, NETWORK, OUT, SAMPLES)
    assert not OUT.exists()


def test_a_generator_with_batch_norm_makes_each_image_by_itself(trained):
    config = replace(trained, network=replace(trained.network, generator_norm="batch"))
    train_phase(config, "r0004", DATASET, None, Path("snapshots"), Path("batch"), Path("batch.csv"))
    fakes = _fakes_of(config, read_checkpoint(Path("batch")))
    (eight,), (last,) = fakes(0, 8), fakes(6, 8)
    np.testing.assert_allclose(eight[6:].int(), last.int(), atol=1)


def test_a_measure_that_is_no_number_fails_the_gate_and_nothing_breaks(trained, monkeypatch):
    """From the evaluation to the verdict and the report."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd()}/mlflow.db")
    monkeypatch.setattr("components.evaluate.stage.mean_ms_ssim", lambda batches: float("nan"))
    phases = {"r0004": trained.phases["r0004"]}
    config = replace(trained, phases=phases)
    prepare_score_network(config, DATASET, NETWORK)
    folders = Path("history"), Path("evaluation"), Path("samples"), Path("verdict.json")
    history, evaluations, samples, verdict = folders
    history.mkdir()
    Path("history.csv").rename(history / "r0004.csv")
    evaluate(config, "r0004", CHECKPOINT, DATASET, NETWORK, evaluations / "r0004.json", samples / "r0004.png")
    gate(config, evaluations / "r0004.json", verdict)
    register(config, RunFiles(CHECKPOINT, *folders), Path("registration.json"))
    files = ReportFiles(history, evaluations, samples, verdict, Path("registration.json"), DATASET)
    report(config, files, Path("report"))
    assert read_json(evaluations / "r0004.json")["ms_ssim"] is None
    assert read_json(Path("registration.json"))["version"] is None
    reasons = read_json(verdict)["reasons"]
    assert [reason["measure"] for reason in reasons if not reason["passed"]] == ["ms_ssim"]
    page = Path("report/report.html").read_text()
    assert "ms_ssim is missing or no finite number; at most 1, the limit is asked" in page
    assert "<td>–</td>" in page
