"""The sliced Wasserstein distance against a float64 numpy/scipy formulation, and its properties."""

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from progan.metrics import swd


def _images(count, side, seed=0, channels=3):
    """Smooth random pictures: noise at several scales, so that every pyramid level has content."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(count, channels, side, side)
    for coarse in (side, side // 2, side // 4):
        noise = torch.randn(count, channels, coarse, coarse, generator=generator)
        total += torch.nn.functional.interpolate(noise, side, mode="nearest")
    return (total * 25 + 128).clamp(0, 255).to(torch.uint8)


def _pyramid(image):
    """[H, W] float64 → its Laplacian pyramid, by scipy."""
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    levels = []
    while image.shape[0] > 16:
        small = ndimage.convolve(image, kernel, mode="mirror")[::2, ::2]
        stuffed = np.zeros_like(image)
        stuffed[::2, ::2] = small
        levels.append(image - ndimage.convolve(stuffed, 4 * kernel, mode="mirror"))
        image = small
    return [*levels, image]


@pytest.mark.parametrize("side", [16, 32, 64])
def test_the_pyramid_is_scipys(side):
    images = _images(2, side)
    levels = list(swd.laplacian_pyramid(images.float()))
    assert [level.shape[-1] for level in levels] == [side >> n for n in range(len(levels))]
    assert levels[-1].shape[-1] == 16
    for n in range(2):
        for channel in range(3):
            expected = _pyramid(images[n, channel].numpy().astype(float))
            for level, values in zip(levels, expected, strict=True):
                np.testing.assert_allclose(level[n, channel], values, atol=1e-4)


def test_patches_are_cut_where_the_corners_say():
    images = torch.arange(2 * 3 * 16 * 16).view(2, 3, 16, 16).float()
    corners = swd.patch_corners(2, 16, torch.Generator().manual_seed(0))
    patches = swd.extract_patches(images, corners)
    for n in range(2):
        for k in range(128):
            y, x = corners[n, k].tolist()
            assert torch.equal(patches[n, :, k].view(3, 7, 7), images[n, :, y : y + 7, x : x + 7])


def test_patch_centres_are_uniform_over_all_places_a_patch_fits():
    corners = swd.patch_corners(2000, 16, torch.Generator().manual_seed(0))
    for axis in corners.unbind(-1):
        counts = axis.flatten().bincount()
        assert len(counts) == 10  # centres 3 … 12 of 16
        assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_the_distance_is_numpys_from_start_to_end():
    real, fake = _images(6, 32, seed=1), _images(6, 32, seed=2)
    measured = swd.sliced_wasserstein(swd.describe([real], 3), swd.describe([fake], 4), 5)
    assert list(measured) == ["32", "16", "average"]
    expected = []
    for depth, side in enumerate((32, 16)):
        sets = []
        for images, seed in ((real, 3), (fake, 4)):
            corners = swd.patch_corners(6, side, swd._generator("patches", seed, side)).tolist()
            patches = []
            for image, places in zip(images.numpy().astype(float), corners, strict=True):
                level = np.stack([_pyramid(channel)[depth] for channel in image])
                patches += [level[:, y : y + 7, x : x + 7] for y, x in places]
            values = np.stack(patches)
            values = (values - values.mean((0, 2, 3), keepdims=True)) / values.std((0, 2, 3), keepdims=True)
            sets.append(values.reshape(len(values), -1))
        directions = swd.unit_directions(swd._generator("directions", 5, side)).double().numpy()
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-6)
        distances = [stats.wasserstein_distance(sets[0] @ d, sets[1] @ d) for d in directions]
        expected.append(1000 * np.mean(distances))
        assert measured[str(side)] == pytest.approx(expected[-1], rel=1e-4)
    assert measured["average"] == pytest.approx(np.mean(expected), rel=1e-4)


def test_positions_and_values_do_not_depend_on_the_batch_size():
    images = _images(21, 32)
    whole = swd.describe([images], 1)
    for size in (1, 4, 20):
        parts = swd.describe(images.split(size), 1)
        assert parts.images == whole.images == 21
        for side, level in whole.levels.items():
            assert torch.equal(level, parts.levels[side])


def test_seeds_decide_and_do_not_touch_torchs_own_state():
    images = _images(4, 16)
    state = torch.get_rng_state()
    first, again, other = (swd.describe([images], seed) for seed in (1, 1, 2))
    assert torch.equal(first.levels[16], again.levels[16])
    assert not torch.equal(first.levels[16], other.levels[16])
    assert swd.sliced_wasserstein(first, again, 7)["average"] == 0
    assert swd.sliced_wasserstein(first, other, 7) == swd.sliced_wasserstein(first, other, 7)
    assert swd.sliced_wasserstein(first, other, 7) != swd.sliced_wasserstein(first, other, 8)
    assert torch.equal(torch.get_rng_state(), state)


def test_grey_is_tiled_to_rgb():
    grey = _images(5, 16, channels=1)
    tiled = swd.describe([grey.repeat(1, 3, 1, 1)], 1)
    assert torch.equal(swd.describe([grey], 1).levels[16], tiled.levels[16])


@pytest.mark.parametrize("side", [4, 8])
def test_small_images_are_measured_enlarged_to_16(side):
    small = _images(5, side)
    enlarged = np.kron(small.numpy(), np.ones((1, 1, 16 // side, 16 // side), dtype=np.uint8))
    described = swd.describe([small], 1)
    assert list(described.levels) == [16]
    assert torch.equal(described.levels[16], swd.describe([torch.from_numpy(enlarged)], 1).levels[16])


def test_a_collapsed_set_has_a_distance_not_nan():
    black = swd.describe([torch.zeros(10, 3, 32, 32, dtype=torch.uint8)], 1)
    distance = swd.sliced_wasserstein(swd.describe([_images(10, 32)], 2), black, 3)
    assert distance["average"] > 100


def test_sets_that_cannot_be_compared_are_refused():
    two, three = swd.describe([_images(2, 16)], 1), swd.describe([_images(3, 16)], 1)
    with pytest.raises(ValueError, match="same number of images, not 2 and 3"):
        swd.sliced_wasserstein(two, three, 1)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_distance():
    real, fake = _images(10, 64, seed=1), _images(10, 64, seed=2)
    on_cpu, on_gpu = (
        swd.sliced_wasserstein(swd.describe([real.to(device)], 1), swd.describe([fake.to(device)], 2), 3)
        for device in ("cpu", "cuda")
    )
    assert on_gpu == pytest.approx(on_cpu, rel=1e-4)
