"""Seeds, classes and truncation."""

import dataclasses

import pytest
import torch

from progan.errors import InputError
from progan.networks.progan import Generator
from progan.sampling import Sampler, label_of, latents_of_seeds, seeded_latents

CLASSES = ["cats", "dogs", "7"]


@pytest.fixture
def sampler(small_config):
    network = dataclasses.replace(small_config.network, label_size=3)
    torch.manual_seed(0)
    return Sampler(Generator(network, 16), CLASSES)


def floats(sampler, latents, labels, truncation):
    with torch.no_grad():
        return sampler.make(latents, labels, truncation)


def test_without_truncation_it_is_the_generator_itself(sampler):
    latents, labels = latents_of_seeds([3, 1, 4], 8), torch.tensor([2, 0, 0])
    inputs = torch.cat([latents, torch.eye(3)[labels]], 1)
    with torch.no_grad():
        expected = sampler.generator(inputs)
    assert torch.equal(floats(sampler, latents, labels, 1.0), expected)
    images = torch.cat(list(sampler.images(latents, labels)))
    assert torch.equal(images, (expected * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8))


def test_truncation_moves_the_first_maps_towards_their_mean(sampler):
    latents, labels = latents_of_seeds([3, 1], 8), torch.tensor([1, 2])
    first = sampler.generator.blocks["r0004"]
    with torch.no_grad():
        moved = []
        for one, label in zip(latents, labels, strict=True):
            many = seeded_latents(1000, 8, 0)
            maps = [
                first(sampler.generator.normalized(torch.cat([latent, torch.eye(3)[label]])[None]))
                for latent in (one, *many)
            ]
            mean = torch.stack(maps[1:]).mean(0)
            moved.append(sampler.generator.grow(0.3 * maps[0] + 0.7 * mean))
        torch.testing.assert_close(floats(sampler, latents, labels, 0.3), torch.cat(moved))


@pytest.mark.parametrize("truncation", [-0.1, 1.1, float("nan")])
def test_invalid_truncations(sampler, truncation):
    with pytest.raises(InputError, match="truncation .*: from 0 .* to 1 .* is expected"):
        list(sampler.images(latents_of_seeds([1], 8), torch.tensor([0]), truncation))


@pytest.mark.parametrize(("wanted", "label"), [("cats", 0), ("dogs", 1), ("1", 1), ("7", 2)])
def test_classes_by_name_and_number(wanted, label):
    assert label_of(wanted, CLASSES) == label


def test_accents_are_equal_however_they_are_encoded():
    assert label_of("caf\u00e9", ["bar", "cafe\u0301"]) == label_of("cafe\u0301", ["bar", "caf\u00e9"]) == 1


@pytest.mark.parametrize(
    ("wanted", "classes", "message"),
    [
        ("birds", CLASSES, "label birds: expected one of cats, dogs, 7"),
        ("3", CLASSES, "label 3: expected one of cats, dogs, 7"),
        ("-1", CLASSES, "label -1: expected one of"),
        (None, CLASSES, "label missing: expected one of cats, dogs, 7"),
        ("x", [str(number) for number in range(1000)], "expected one of 0, 1, 2, .*, 19, …$"),
        ("cats", [], "label cats: this generator was trained without labels; leave it out"),
    ],
)
def test_unknown_classes(wanted, classes, message):
    with pytest.raises(InputError, match=message):
        label_of(wanted, classes)


def test_no_class_is_needed_without_classes():
    assert label_of(None, []) == 0


@pytest.mark.parametrize("seeds", [[], [-1], [2**63]])
def test_invalid_seeds(seeds):
    with pytest.raises(InputError, match=r"seeds: at least one is expected, each a whole number from 0 to"):
        latents_of_seeds(seeds, 8)
