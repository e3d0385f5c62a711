"""Estimates: near the times that the authors published, from own runs first, scaled by arithmetic."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from benchmarks import train_step
from pipelines.planning.here import machine_here
from pipelines.planning.step_times import (
    Machine,
    Measured,
    Range,
    Rate,
    StepTimes,
    forecast_here,
    own_rates,
    photograph_count,
    stage_time,
    step_times,
    training_time,
)
from progan import config, presets
from progan.config import validated
from progan.cost import iteration_flops
from progan.history import History
from progan.phases import Schedule
from progan.progress import Forecast
from tests.conftest import ROOT
from tests.histories import BEGIN, history

CPU = Machine("CPU", 0)
INCEPTION = {"inception_weights": "inception.pth", "inception_sha256": "ab" * 32}


def days(name, machine):
    loaded = config.parse(presets.params(name), name)
    parts = [
        training_time(loaded, key, Schedule(phase).total_images, machine, ())
        for key, phase in loaded.phases.items()
    ]
    assert {part.basis for part in parts} == {"guessed"}
    return [
        sum(getattr(part.seconds, bound) for part in parts) / 86400 for bound in ("low", "likely", "high")
    ]


@pytest.mark.parametrize(
    ("preset", "gpus", "published"),
    [
        ("celebahq-1024", 1, 30),
        ("celebahq-1024-v2-1gpu", 1, 14),
        ("celebahq-1024-v2-8gpus", 8, 2),
    ],
)
def test_the_authors_times_on_v100s(preset, gpus, published):
    """In days, from their README: "about a month", "2 weeks" … They are in the range and near the guess."""
    low, likely, high = days(preset, Machine("Tesla V100-SXM2-16GB", gpus))
    assert low < published < high
    assert published / 1.7 < likely < published * 1.7


def test_gpus_by_any_spelling():
    """CUDA's names have spaces where the labels of nodes have hyphens; the first match counts."""
    named = [
        days("celebahq-256", Machine(name, 1)) for name in ("NVIDIA H100 80GB HBM3", "nvidia-h100-80gb-hbm3")
    ]
    assert named[0] == named[1]
    slower = days("celebahq-256", Machine("NVIDIA-H100-PCIe", 1))
    assert named[0][1] < slower[1] < days("celebahq-256", Machine("Tesla-T4", 1))[1]
    low, likely, high = days("celebahq-256", Machine("some other card", 1))
    assert high / likely == likely / low == step_times().guessed.any_other.spread


def test_own_runs_come_first(small_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, machine = 8000, Machine("NVIDIA A100-SXM4-80GB", 2)
    guessed = training_time(small_config, "r0008", images, machine, ())
    assert guessed.basis == "guessed"
    file = Path("history/r0008.csv")
    history(4000, 100.0, device="NVIDIA A100-SXM4-80GB", gpus=2).write(file)
    own = own_rates(small_config, Path(), "CPU")
    estimate = training_time(small_config, "r0008", images, machine, own)
    assert estimate.basis == "own run"
    assert estimate.seconds.likely == pytest.approx(200)  # twice the images of that run, on as many GPUs
    assert estimate.seconds.low < 200 < estimate.seconds.high
    assert training_time(small_config, "r0008", images, CPU, own).basis.startswith("measured")
    history(4000, 100.0).write(file)
    here = own_rates(small_config, Path(), machine_here().device)
    assert training_time(small_config, "r0008", images, machine_here(), here).seconds.likely == pytest.approx(
        200
    )
    for empty in (History(), History((BEGIN,))):
        empty.write(file)
        assert own_rates(small_config, Path(), "CPU") == ()


def test_rates_are_of_one_precision(small_config):
    """Own and measured ones; a guess is faster in bfloat16 than in TF32, and in TF32 than in float32."""

    def estimate(precision, device, own=()):
        training = replace(small_config.training, precision=precision)
        config = replace(small_config, training=training)
        return training_time(config, "r0008", 8000, Machine(device, 1), own)

    rate = Rate(8, 8, iteration_flops(small_config.network, small_config.training, 8) / 1e6, 40.0)
    own = (Measured("Some card", "own run", 1.3, (rate,), "bfloat16"),)
    assert estimate("bfloat16", "Some card", own).seconds.likely == pytest.approx(200)
    assert estimate("float32", "Some card", own).basis == "guessed"
    for device, basis in (("NVIDIA H200", "measured"), ("T4", "guessed")):
        estimates = [estimate(precision, device) for precision in ("bfloat16", "tf32", "float32")]
        assert all(each.basis.startswith(basis) for each in estimates)
        seconds = [each.seconds.likely for each in estimates]
        assert seconds == sorted(seconds)


def test_the_forecast_of_a_phase_is_of_the_plan(small_config, tmp_path, monkeypatch):
    """And of the phases after it and all evaluations; a damaged history of another phase does not matter."""
    monkeypatch.chdir(tmp_path)
    Path("history").mkdir()
    Path("history/r0004.csv").write_text("damaged")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    expected = {
        key: training_time(small_config, key, Schedule(phase).total_images, CPU, ()).seconds.likely
        for key, phase in small_config.phases.items()
    }
    evaluations = sum(
        stage_time("evaluate", small_config, key, None, CPU).seconds.likely for key in small_config.phases
    )
    assert forecast_here(small_config, "r0008", 1) == Forecast(
        expected["r0008"], pytest.approx(expected["r0016"] + evaluations)
    )
    assert forecast_here(small_config, "r0016", 1).later_seconds == pytest.approx(evaluations)


def test_scaling_widens_the_range(small_config):
    """Twice the operations take twice as long; the further from the known rate, the wider the range."""
    network = small_config.network
    megaflops = iteration_flops(network, small_config.training, 8) / 1e6
    known = (Measured("CPU", "", 1.5, (Rate(8, 8, megaflops, 100.0), Rate(512, 8, 1e9, 1.0))),)
    exact = training_time(small_config, "r0008", 1000, CPU, known)
    assert exact.seconds == Range.around(10, 1.5)
    assert exact.basis == "own run"
    wider = replace(small_config, network=replace(network, fmap_base=128, fmap_max=16))
    ratio = iteration_flops(wider.network, wider.training, 8) / 1e6 / megaflops
    assert ratio > 2
    scaled = training_time(wider, "r0008", 1000, CPU, known)
    assert scaled.seconds.likely == pytest.approx(10 * ratio)
    assert scaled.basis == "own run, scaled from r0008"
    assert scaled.seconds.high / scaled.seconds.likely > 1.5


def test_the_table_is_of_the_networks_in_params():
    """If the networks of params.yaml change, the table has to be measured again."""
    loaded = config.load()
    (cpu,) = (each for each in step_times().measured if each.device == "CPU")
    for rate in cpu.rates:
        assert iteration_flops(loaded.network, loaded.training, rate.resolution) / 1e6 == pytest.approx(
            rate.megaflops, rel=0.01
        )
        assert loaded.phases[f"r{rate.resolution:04d}"].minibatch == rate.minibatch


def test_the_basis_of_the_other_stages(small_config):
    def basis(stage, machine=CPU, **measures):
        changed = replace(small_config, measures=replace(small_config.measures, **measures))
        return stage_time(stage, changed, "r0008", 100, machine).basis

    assert [basis(stage) for stage in ("build-dataset", "score-network", "evaluate", "gate")] == [
        "measured"
    ] * 4
    assert basis("warm-start") == "guessed"
    assert basis("evaluate", Machine("any GPU", 1)) == "guessed"
    assert basis("evaluate", **INCEPTION) == "guessed"


def test_rebuilding_photographs_takes_hours(small_config):
    """Five seconds of one core for each of 30,000: 40 hours, shared by two cores."""

    def build(source):
        of_source = replace(small_config, dataset=replace(small_config.dataset, source=source))
        return stage_time("build-dataset", of_source, None, 30_000, CPU)

    rebuilt, read = build("celeba-hq"), build("celeba-hq-images")
    assert (rebuilt.seconds.likely - read.seconds.likely) / 3600 == pytest.approx(20, rel=0.1)
    assert (rebuilt.basis, read.basis) == ("guessed", "measured")


def test_the_time_of_a_score_network_follows_its_training_images(small_config):
    def seconds(images, **measures):
        changed = replace(small_config, measures=replace(small_config.measures, **measures))
        return stage_time("score-network", changed, None, images, CPU).seconds.likely

    assert seconds(2000, classifier_epochs=6) == pytest.approx(12 * seconds(1000, classifier_epochs=1))
    assert seconds(1_000_000, mode_samples=25600) == seconds(20_000, mode_samples=25600) == seconds(60_000)
    assert seconds(1000, **INCEPTION) == 0


def test_the_benchmark_prints_an_entry_of_the_table(small_params, tmp_path, monkeypatch, capsys):
    """Pasted into the table, which is YAML, the entry gives the times of a plan."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(small_params))
    train_step.main(seconds=0.01)
    printed = json.loads(capsys.readouterr().out)
    table = yaml.safe_load((ROOT / "pipelines/planning/step_times.yaml").read_text())
    table["measured"] = [printed["step_times"]]
    measured = validated(StepTimes, table, "step_times.yaml").measured
    estimate = training_time(config.load(), "r0008", 1000, CPU, measured)
    assert estimate.basis == "own run"  # not scaled: it is of this very network
    rates = printed["images_per_second"]["r0008"]
    assert estimate.seconds.likely == pytest.approx(1000 / ((rates["stable"] + rates["fading"]) / 2))


def test_how_many_photographs(small_config, tmp_path):
    def count(**changes):
        return photograph_count(
            replace(small_config, dataset=replace(small_config.dataset, **changes)), tmp_path
        )

    assert count() == count(path=str(Path("data/raw/toy-celeba").absolute())) == 48  # painted
    assert count(max_images=7) == 7
    assert count(path="data/raw/celeba") == 202599
    assert count(path="data/raw/celeba", max_images=1000) == 1000
    assert count(source="folder", path="mine") is None
    (tmp_path / "mine/deeper").mkdir(parents=True)
    for name in ("a.png", "deeper/b.jpg", "notes.txt"):
        (tmp_path / "mine" / name).write_bytes(b"")
    (tmp_path / "mine/linked").symlink_to("deeper")
    assert count(source="folder", path="mine") == 3
