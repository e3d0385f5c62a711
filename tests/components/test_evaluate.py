"""Evaluation of a finished phase: with a classifier of the labels, with Inception weights, with neither."""

import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.evaluate.evaluation import Evaluation
from components.evaluate.measures import swd_levels
from components.evaluate.stage import _fakes_of, _nearest, _row, evaluate
from components.gate.stage import decide, gate
from components.gate.verdict import Verdict
from components.register.registration import Registration
from components.register.stage import register
from components.report.stage import report
from components.score_network.stage import prepare_score_network
from components.train.stage import train
from progan.checkpoints import read_checkpoint
from progan.config import GateConfig
from progan.dataset.build import build
from progan.dataset.reader import load_images
from progan.errors import InputError
from progan.files import read_json, sha256_file
from progan.networks import build_networks
from progan.sampling import generate, load_generator, seeded_latents
from progan.store import FolderStore
from tests.layout import evaluated_files, report_files, run_files

DATASET, CHECKPOINT, NETWORK = Path("multires"), Path("checkpoints/r0004"), Path("score_network")
OUT, SAMPLES, NEAREST = Path("evaluation.json"), Path("samples.png"), Path("nearest.png")
FILES = {
    **{"dataset": DATASET, "checkpoint": CHECKPOINT, "score_network": NETWORK},
    **{"evaluation": OUT, "samples": SAMPLES, "nearest": NEAREST},
}


@pytest.fixture
def trainer(tmp_path, monkeypatch, small_config, photographs):
    """Returns a function that builds a dataset of two classes, trains r0004 and returns the configuration."""
    monkeypatch.chdir(tmp_path)
    dataset = replace(small_config.dataset, source="folder", path=str(photographs), label_attributes=())

    def train_r0004(label_size):
        network = replace(small_config.network, label_size=label_size)
        config = replace(small_config, dataset=dataset, network=network)
        build(config.dataset, DATASET, workers=1)
        files = FolderStore(Path("snapshots")), CHECKPOINT, Path("history.csv"), Path("grids")
        train(config, "r0004", "identity", DATASET, None, *files)
        return config

    return train_r0004


@pytest.fixture
def trained(trainer):
    """The configuration of a trained unconditional generator."""
    return trainer(0)


def evaluated(config):
    prepare_score_network(config, DATASET, NETWORK)
    evaluate(config, "r0004", **FILES)
    return Evaluation.read(OUT)


def test_with_labels(trained):
    first = evaluated(trained)
    measures = first.measures
    assert 1 <= measures["classifier_score"] <= 2
    assert "inception_score" not in measures
    assert first.swd_images == 16
    assert first.checkpoint == read_checkpoint(CHECKPOINT).digest
    assert swd_levels(measures) == [16]
    assert 0 < measures["swd_floor_16"] == measures["swd_floor_average"] < measures["swd_average"]
    for name in ("ms_ssim", "precision", "recall"):
        assert 0 <= measures[name] <= 1
    assert evaluated(trained) == first
    reals = load_images(DATASET, 4)[0]
    sheet = np.asarray(Image.open(SAMPLES))
    np.testing.assert_array_equal(sheet[2 : 2 + 64 : 16, 2 : 2 + 64 : 16], reals[0].transpose(1, 2, 0))


def test_a_conditional_generator_shows_a_row_for_each_class(trainer):
    """Both reals and fakes; the fakes of a class are those that the generator makes for its label."""
    config = trainer(2)
    first = evaluated(config)
    assert evaluated(config) == first
    assert None not in first.measures.values()
    facts = read_checkpoint(CHECKPOINT).facts
    assert (facts.classes, facts.network.label_size) == (["cats", "dogs"], 2)
    reals, labels = load_images(DATASET, 4)
    sheet = np.asarray(Image.open(SAMPLES))
    assert sheet.shape == (2 * 66 + 2, 2 * (8 * 66 + 2) + 24, 3)  # two rows of eight 64 px tiles on each side

    def tile(row, column, left=0):
        top, left = 2 + 66 * row, left + 2 + 66 * column
        return sheet[top : top + 64 : 16, left : left + 64 : 16].transpose(2, 0, 1)

    generator, _ = build_networks(config.network, 4)
    generator.load_state_dict(read_checkpoint(CHECKPOINT).networks("ema"))
    latents = seeded_latents(16, 8, config.measures.seed)
    for row in range(2):
        of_class = reals[labels == row]
        label = torch.eye(2)[row].expand(8, 2)
        inputs = torch.cat([latents[8 * row : 8 * row + 8], label], 1)
        fakes = torch.cat(list(generate(generator, inputs)))
        for column in range(8):
            np.testing.assert_array_equal(tile(row, column), of_class[column])
            np.testing.assert_array_equal(tile(row, column, 8 * 66 + 2 + 24), fakes[column])


def test_rows_that_a_class_cannot_fill_stay_white():
    images = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    assert _row(images, 5).amax(dim=(1, 2, 3)).tolist() == [0, 0, 0, 255, 255]
    assert len(_row(images, 2)) == 2


def test_fakes_have_the_labels_of_the_reals_in_order(trainer):
    config = trainer(2)
    labels = torch.from_numpy(load_images(DATASET, 4)[1])
    generator = load_generator(read_checkpoint(CHECKPOINT))
    fakes = torch.cat(list(_fakes_of(generator, labels, config)(3, 50)))
    latents = seeded_latents(50, 8, config.measures.seed)
    fake_labels = torch.cat([labels, labels])[3:50]  # 40 reals
    expected = generate(generator, torch.cat([latents[3:], torch.eye(2)[fake_labels]], 1))
    assert torch.equal(fakes, torch.cat(list(expected)))


def test_a_generator_that_copies_is_detected(trained):
    """Its fakes are in the top row, and the originals, mirrored if need be, below them."""
    images = torch.from_numpy(load_images(DATASET, 4)[0])
    copies = images[torch.arange(16)].flip(3)
    copies[0] = images[39]
    noise = torch.randint(0, 256, (16, 3, 4, 4), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    copied, picture = _nearest(images, lambda begin, end: copies[begin:end].split(5), trained)
    new, _ = _nearest(images, lambda begin, end: noise[begin:end].split(5), trained)
    assert copied["ratio"] < 0.01
    assert new["ratio_least"] > 1
    sheet = np.asarray(picture)[..., :3]
    assert sheet.shape == (66 + 2 + 12 + 3 * 66 + 2, 8 * 66 + 2, 3)
    np.testing.assert_array_equal(sheet[:66], sheet[80 : 80 + 66])
    assert (sheet[146:212] != sheet[80 : 80 + 66]).any()


def test_another_number_of_classes_is_refused(trainer):
    with pytest.raises(InputError, match="network.label_size: is 8, but multires has 2 classes; set it to 2"):
        trainer(8)


def test_with_inception_weights(photographs, request, inception_weights, monkeypatch):
    for picture in sorted(photographs.rglob("*.png"))[::2]:  # an image takes a fifth of a second
        picture.unlink()
    trained = request.getfixturevalue("trained")
    monkeypatch.setattr(np.linalg, "eigvals", lambda matrix: np.zeros(len(matrix)))  # of 2048² in 15 s
    digest = sha256_file(inception_weights)
    weights = {"inception_weights": str(inception_weights), "inception_sha256": digest}
    measures = replace(trained.measures, **weights, score_images=4)
    measured = evaluated(replace(trained, measures=measures)).measures
    assert {"inception_score", "inception_score_std", "fid", "kid", "kid_std"} <= measured.keys()
    assert {"precision", "recall"} <= measured.keys()
    assert "classifier_score" not in measured
    assert all(np.isfinite(measured[name]) for name in ("inception_score", "fid", "kid"))
    other = replace(measures, inception_sha256="0" * 64)
    with pytest.raises(InputError, match="SHA-256 is"):
        prepare_score_network(replace(trained, measures=other), DATASET, Path("other"))
    assert not Path("other").exists()


def test_with_neither(trained, tmp_path):
    folder = Path(trained.dataset.path)
    for number, path in enumerate(folder.rglob("*.png")):
        path.rename(folder / f"{number}.png")
    for empty in ("cats", "dogs"):
        (folder / empty).rmdir()
    build(trained.dataset, Path("unlabelled"), workers=1)
    prepare_score_network(trained, Path("unlabelled"), NETWORK)
    assert read_json(NETWORK / "score_network.json")["kind"] == "none"
    evaluate(trained, "r0004", **FILES)
    assert not [name for name in Evaluation.read(OUT).measures if "score" in name]


def test_what_does_not_fit_is_refused(trained):
    prepare_score_network(trained, DATASET, NETWORK)
    with pytest.raises(InputError, match="holds phase r0004, not r0008; run that phase first"):
        evaluate(trained, "r0008", **FILES)
    assert not OUT.exists()
    config = replace(trained, measures=replace(trained.measures, mode_samples=10))
    with pytest.raises(InputError, match="measures.mode_samples: modes are counted in images of the source"):
        prepare_score_network(config, DATASET, NETWORK)


def test_with_batch_norm_an_image_does_not_depend_on_its_minibatch(trained):
    config = replace(trained, network=replace(trained.network, generator_norm="batch"))
    files = FolderStore(Path("snapshots")), Path("batch"), Path("batch.csv"), Path("grids")
    train(config, "r0004", "with batch norm", DATASET, None, *files)
    fakes = _fakes_of(load_generator(read_checkpoint(Path("batch"))), None, config)
    (eight,), (last,) = fakes(0, 8), fakes(6, 8)
    np.testing.assert_allclose(eight[6:].int(), last.int(), atol=1)


def test_a_measure_that_is_not_finite_fails_the_gate(trained, registry, monkeypatch):
    """It passes through evaluation, verdict, registration and report without an error."""
    monkeypatch.setattr("components.evaluate.stage.mean_ms_ssim", lambda batches: float("nan"))
    phases = {"r0004": trained.phases["r0004"]}
    config = replace(trained, phases=phases)
    prepare_score_network(config, DATASET, NETWORK)
    files, evaluation = run_files(config), Path("evaluation/r0004.json")
    files.history.mkdir()
    Path("history.csv").rename(files.history / "r0004.csv")
    evaluate(config, "r0004", **evaluated_files(config, "r0004"))
    gate(config, evaluation, files.verdict)
    register(config, files, str(DATASET))
    report(config, report_files(config))
    assert Evaluation.read(evaluation).measures["ms_ssim"] is None
    assert Registration.read(files.registration).version is None
    reasons = Verdict.read(files.verdict).reasons
    assert [reason.measure for reason in reasons if not reason.passed] == ["ms_ssim"]
    page = Path("report/report.html").read_text()
    assert "ms_ssim is missing or not finite; must be at most 1" in page
    assert '<dt>MS-SSIM</dt><dd class="value">–</dd>' in page


def test_modes_of_stacked_digits(tmp_path, monkeypatch, small_config):
    """From files in MNIST's format to the number of modes, which the gate takes as the score."""
    monkeypatch.chdir(tmp_path)
    random, digits = np.random.default_rng(0), np.arange(200, dtype=np.uint8) % 10
    images = random.integers(0, 40, (200, 28, 28), np.uint8)
    for image, digit in zip(images, digits, strict=True):
        image[2 * digit + 2 : 2 * digit + 6] = 250
    Path("train-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, *images.shape) + images.tobytes())
    Path("train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, len(digits)) + digits.tobytes())
    dataset = replace(
        small_config.dataset, source="mnistrgb", path=str(tmp_path), label_attributes=(), max_images=400
    )
    measures = replace(small_config.measures, mode_samples=50, classifier_epochs=4)
    config = replace(small_config, dataset=dataset, measures=measures)
    build(config.dataset, DATASET, workers=1)
    files = FolderStore(Path("snapshots")), CHECKPOINT, Path("history.csv"), Path("grids")
    train(config, "r0004", "identity", DATASET, None, *files)
    evaluation = evaluated(config)
    measures = evaluation.measures
    assert read_json(NETWORK / "score_network.json")["kind"] == "digits"
    assert read_json(NETWORK / "score_network.json")["accuracy"] > 0.9
    assert 1 <= measures["modes"] <= 50
    assert math.log(1000 / 50) <= measures["modes_kl"] <= math.log(1000)
    verdict = decide(evaluation, None, GateConfig(None, None, 51.0, None, None))
    assert verdict.reasons[0].text.startswith("modes")
    assert not verdict.passed
