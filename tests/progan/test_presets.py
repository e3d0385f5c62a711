"""Every preset is a whole, valid parameter file, and those of the paper have the paper's figures."""

from functools import cache

import pytest
import torch
import yaml

from progan import config, presets
from progan.errors import InputError
from progan.networks import build_networks
from progan.resolutions import RESOLUTIONS


@cache
def values(name):
    return yaml.load(presets.to_yaml(name), yaml.CSafeLoader)


@cache
def loaded(name):
    return config.parse(values(name), name)


def by_resolution(name, field):
    return [getattr(phase, field) for phase in loaded(name).phases.values()]


def test_every_preset_is_valid():
    for name in presets.listed():
        settings = loaded(name)
        assert values(name) == presets.params(name)
        assert settings.register.model == name
        assert settings.dataset.resolution == max(phase.resolution for phase in settings.phases.values())


def test_networks_accept_the_last_minibatch():
    """The largest of each kind; it has the layers of all phases, whose minibatches config.parse compares."""
    for settings in {str(each.network): each for each in map(loaded, presets.listed())}.values():
        network, phase = settings.network, settings.phase(settings.last_phase)
        with torch.device("meta"):
            generator, discriminator = build_networks(network, phase.resolution)
            images = generator(torch.empty(phase.minibatch, network.latent_size + network.label_size))
            scores = discriminator(images)
        assert images.shape == (phase.minibatch, network.channels, *[phase.resolution] * 2)
        assert scores.shape == (phase.minibatch, 1 + network.label_size)


def test_the_papers_runs_are_presets():
    names = presets.listed()
    assert sum(name.startswith("lsun-") for name in names) == 30
    for data in ("celeba", "bedroom"):
        rows = [name.removeprefix(f"table1-{data}-") for name in names if name.startswith(f"table1-{data}-")]
        assert rows == ["a", "b", "c", "d", "e-star", "e", "f", "g", "h"]
    assert sum(name.startswith("mnist-1k-") for name in names) == 8
    assert {"celebahq-256", "celebahq-512", "cifar10", "cifar10-labels", "photographs-quick-cpu"} < set(names)
    assert not {"paper", "lsun", "quick", "mnist-1k"} & set(names)


@pytest.mark.parametrize(
    ("name", "kimg"),
    [
        ("celebahq-1024", 19000),
        ("celebahq-1024-v2-1gpu", 12000),
        ("celebahq-1024-v2-8gpus", 12000),
        ("lsun-cat", 20000),
        ("cifar10", 20000),
        ("table1-celeba-a", 10000),
        ("table1-bedroom-g", 10000),
        ("mnist-1k-half-none", 10000),
        ("mnist-1k-half-growing", 15000),
    ],
)
def test_the_images_shown_in_all(name, kimg):
    phases = loaded(name).phases.values()
    assert sum(phase.fade_kimg + phase.stable_kimg for phase in phases) == kimg


@pytest.mark.parametrize(
    ("name", "minibatches", "rates"),
    [
        ("celebahq-1024", [16, 16, 16, 16, 16, 16, 14, 6, 3], [1] * 9),
        ("celebahq-1024-v2-1gpu", [128, 128, 128, 64, 32, 16, 8, 4, 4], [1] * 8 + [1.5]),
        ("celebahq-1024-v2-2gpus", [256, 256, 128, 64, 32, 16, 8, 8, 8], [1] * 7 + [1.5, 2]),
        ("celebahq-1024-v2-4gpus", [512, 256, 128, 64, 32, 16, 16, 16, 16], [1] * 6 + [1.5, 2, 3]),
        ("celebahq-1024-v2-8gpus", [512, 256, 128, 64, 32, 32, 32, 32, 32], [1] * 5 + [1.5, 2, 3, 3]),
    ],
)
def test_minibatches_and_learning_rates_of_the_authors(name, minibatches, rates):
    assert by_resolution(name, "minibatch") == minibatches
    assert by_resolution(name, "learning_rate") == pytest.approx([rate / 1000 for rate in rates])
    assert by_resolution(name, "resolution") == list(RESOLUTIONS)


def test_growing_as_the_authors_do():
    """With 800 kimg a fade and a stable part, 1024 px fades in from 12,000 to 12,800 kimg; at 32 px, 400 each
    and stable from 2,400 on."""
    *before, last = loaded("celebahq-1024").phases.values()
    assert sum(phase.fade_kimg + phase.stable_kimg for phase in before) == 12000
    assert (last.fade_kimg, last.stable_kimg) == (800, 6200)
    assert before[0].fade_kimg == 0
    *before, last = loaded("cifar10").phases.values()
    assert sum(phase.fade_kimg + phase.stable_kimg for phase in before) + last.fade_kimg == 2400


def test_cifar_10_is_the_papers():
    settings = loaded("cifar10")
    generator, discriminator = build_networks(settings.network, 32)
    assert sum(p.numel() for p in generator.parameters()) == 1_296_908
    assert sum(p.numel() for p in discriminator.parameters()) == 1_298_689
    training = settings.training
    assert (training.update, training.mirror, training.critic_steps) == ("joint", False, 1)
    assert training.loss_parameters == {"penalty": 10, "target": 750, "drift": 0.001}
    assert set(by_resolution("cifar10", "minibatch")) == {16} == {settings.network.mbstd_group_size}


def changes(before, after):
    """The keys of `network` and `training` that differ, and the learning rate, minibatch and first phase."""
    one, other = presets.params(before), presets.params(after)
    differ = {
        key
        for section in ("network", "training")
        for key in one[section]
        if one[section][key] != other[section][key]
    }
    for key in ("learning_rate", "minibatch"):
        if [p[key] for p in one["phases"].values()][-1] != [p[key] for p in other["phases"].values()][-1]:
            differ.add(key)
    return differ | ({"growing"} if next(iter(one["phases"])) != next(iter(other["phases"])) else set())


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("a", "b", {"growing"}),
        ("b", "c", {"minibatch", "ema_decay"}),
        ("d", "e-star", {"minibatch_discrimination"}),
        ("d", "e", {"mbstd_group_size"}),
        ("e", "f", {"equalized_lr", "learning_rate"}),
        ("f", "g", {"generator_norm"}),
        ("g", "h", {"fmap_base"}),
    ],
)
@pytest.mark.parametrize("data", ["celeba", "bedroom"])
def test_each_row_of_table_1_changes_one_thing(data, before, after, what):
    assert changes(f"table1-{data}-{before}", f"table1-{data}-{after}") == what


def test_each_parameter_says_what_it_means():
    lines = presets.to_yaml("photographs-quick-cpu").splitlines()
    assert "  max_skipped: 0.1 # fraction of unreadable images above which the build fails" in lines
    number = lines.index("  update: alternating")
    assert lines[number - 2].startswith("  # `alternating`: `critic_steps` updates")
    assert lines[lines.index("phases:") - 2].startswith("# Training at one resolution")
    assert max(len(line) for line in lines if not line.startswith("  r0")) <= 110


def test_unknown_names():
    with pytest.raises(InputError, match="cifar1: no such preset; did you mean cifar10"):
        presets.params("cifar1")
    with pytest.raises(InputError, match="xyzzy: no such preset; see progan presets list"):
        presets.to_yaml("xyzzy")
    with pytest.raises(InputError, match="paper: no such preset"):
        presets.params("paper")
