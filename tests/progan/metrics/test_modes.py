import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from progan.metrics import classifier, modes


def draw_digits(count, seed):
    """Planes [count, 3, 8, 8] in which digit d is a bar of its own, and their labels."""
    random = np.random.default_rng(seed)
    digits = random.integers(0, 10, (count, 3))
    images = random.integers(0, 40, (count, 3, 8, 8))
    for number, triple in enumerate(digits):
        for channel, digit in enumerate(triple):
            if digit < 5:
                images[number, channel, digit + 1 : digit + 3] += 200
            else:
                images[number, channel, :, digit - 4 : digit - 2] += 200
    labels = digits @ [100, 10, 1]
    return torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels)


def test_planes_carry_their_own_digit():
    images, labels = torch.arange(2 * 3 * 4).view(2, 3, 2, 2).to(torch.uint8), torch.tensor([705, 42])
    single, digits = modes.planes(images, labels)
    assert digits.tolist() == [7, 0, 5, 0, 4, 2]
    for number in range(2):
        for channel in range(3):
            assert torch.equal(single[3 * number + channel, 0], images[number, channel])


def test_coverage_is_the_definition():
    random = np.random.default_rng(0)
    drawn = (random.beta(0.5, 2, 5000) * 1000).astype(np.int64)
    result = modes.coverage(torch.from_numpy(drawn))
    counts = Counter(drawn.tolist())
    assert result["modes"] == len(counts)
    expected = entropy([counts[mode] for mode in range(1000)], np.ones(1000))
    assert result["modes_kl"] == pytest.approx(expected, rel=1e-12)


def test_coverage_at_its_ends():
    assert modes.coverage(torch.arange(1000)) == {"modes": 1000.0, "modes_kl": pytest.approx(0, abs=1e-12)}
    one = modes.coverage(torch.full((50,), 999))
    assert one == {"modes": 1.0, "modes_kl": pytest.approx(math.log(1000))}


def test_a_classifier_of_digits_finds_the_modes():
    network, accuracy = classifier.train(*modes.planes(*draw_digits(300, 0)), modes.DIGITS, 6, seed=0)
    assert accuracy > 0.95
    images, labels = draw_digits(64, 1)
    guessed = torch.cat(list(modes.classify(network, images.split(10))))
    assert (guessed == labels).float().mean() > 0.85
    collapsed = images[:1].expand(90, -1, -1, -1)
    result = modes.measure(network, [images, images, collapsed], samples=64)  # the last 26 are left out
    first, second, third = (guessed, guessed, guessed[:1].expand(64))
    expected = np.mean([len(set(modes_drawn.tolist())) for modes_drawn in (first, second, third)])
    assert result["modes"] == pytest.approx(expected)
