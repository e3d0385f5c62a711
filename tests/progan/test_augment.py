"""Differentiable augmentation against images changed one by one, and its derivatives."""

import numpy as np
import pytest
import torch

from progan.augment import augment, color, cutout, translation
from progan.distributed import Ranks
from progan.randomness import Randomness

SIDE = 16


@pytest.fixture
def images():
    return torch.rand(64, 3, SIDE, SIDE, dtype=torch.float64) * 2 - 1


def randomness(seed=0):
    stream = Randomness(torch.device("cpu"))
    stream.seed(seed)
    return stream


def test_color_by_hand(images):
    draws = randomness().uniform(64, 3, 1, 1, 1).double().numpy().reshape(64, 3)
    for image, changed, (u, v, w) in zip(images.numpy(), color(images, randomness()), draws, strict=True):
        brighter = image + u - 0.5
        grey = brighter.sum(0) / 3
        saturated = np.stack([2 * v * channel + (1 - 2 * v) * grey for channel in brighter])
        factor = 0.5 + w
        expected = factor * saturated + (1 - factor) * saturated.mean()
        np.testing.assert_allclose(changed, expected, atol=1e-12)


def test_translations_are_whole_shifts_of_all_lengths_with_zeros_behind(images):
    shifts = set()
    for image, moved in zip(images.numpy(), translation(images, randomness()).numpy(), strict=True):
        padded = np.pad(image, ((0, 0), (2, 2), (2, 2)))
        fitting = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if (padded[:, 2 - down : 18 - down, 2 - right : 18 - right] == moved).all()
        ]
        assert len(fitting) == 1
        shifts |= set(fitting)
    assert {down for down, _ in shifts} == {right for _, right in shifts} == set(range(-2, 3))


def test_cutout_zeroes_a_square_of_half_the_side(images):
    cut = cutout(images, randomness()).numpy()
    centers = []
    for image, changed in zip(images.numpy(), cut, strict=True):
        gone = (changed == 0).all(0)
        rows, columns = np.flatnonzero(gone.any(1)), np.flatnonzero(gone.any(0))
        assert gone[np.ix_(rows, columns)].all()
        assert (image[:, ~gone] == changed[:, ~gone]).all()
        for lines in (rows, columns):  # 8, fewer where the square leaves the image
            assert len(lines) == 8 or lines[0] == 0 or lines[-1] == SIDE - 1
            assert 4 <= len(lines) <= 8
        centers.append((rows.mean(), columns.mean()))
    assert np.std(centers, axis=0).min() > 2


@pytest.mark.parametrize("kind", ["color", "translation", "cutout"])
def test_derivatives(kind):
    images = torch.rand(2, 3, 6, 6, dtype=torch.float64).requires_grad_()

    def augmented(x):
        return augment(x, [kind], randomness(3))

    assert torch.autograd.gradcheck(augmented, images)
    assert torch.autograd.gradgradcheck(augmented, images)


def test_several_follow_one_another_and_none_changes_nothing(images):
    both = augment(images, ["translation", "cutout"], randomness())
    stream = randomness()
    assert torch.equal(both, cutout(translation(images, stream), stream))
    assert augment(images, (), randomness()) is images


def test_an_image_is_augmented_alike_on_any_number_of_ranks(images):
    whole = augment(images, ["color", "translation", "cutout"], randomness())
    for rank in range(2):
        stream = Randomness(torch.device("cpu"), Ranks(rank, 2))
        stream.seed(0)
        share = augment(images[rank::2], ["color", "translation", "cutout"], stream)
        torch.testing.assert_close(share, whole[rank::2])
