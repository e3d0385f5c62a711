"""MS-SSIM against a float64 numpy/scipy formulation with 2-D windows, and its properties."""

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from progan.metrics.ms_ssim import SCALE_WEIGHTS, mean_ms_ssim, ms_ssim


def _images(count, side, seed=0, channels=3):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, max(1, side // 4), max(1, side // 4), generator=generator)
    noise = torch.rand(count, channels, side, side, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, side, mode="nearest")
    return ((0.7 * smooth + 0.3 * noise) * 255).to(torch.uint8)


def _window(size):
    radius = (size - 1) / 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    gaussian = np.exp(-(x**2 + y**2) / (2 * (1.5 * size / 11) ** 2))
    return gaussian / gaussian.sum()


def _terms(x, y):
    """SSIM and contrast term of two [H, W, C] images."""
    window = _window(min(11, *x.shape[:2]))
    ssim, contrast = [], []
    for channel in range(x.shape[2]):
        a, b = x[..., channel], y[..., channel]
        mean_a, mean_b, aa, bb, ab = (
            fftconvolve(v, window, mode="valid") for v in (a, b, a * a, b * b, a * b)
        )
        v1 = 2 * (ab - mean_a * mean_b) + (0.03 * 255) ** 2
        v2 = aa - mean_a**2 + bb - mean_b**2 + (0.03 * 255) ** 2
        c1 = (0.01 * 255) ** 2
        ssim.append((2 * mean_a * mean_b + c1) * v1 / ((mean_a**2 + mean_b**2 + c1) * v2))
        contrast.append(v1 / v2)
    return np.mean(ssim), np.mean(contrast)


def _expected(x, y, weights):
    x, y = (image.numpy().astype(float).transpose(1, 2, 0) for image in (x, y))
    product = 1.0
    for scale, weight in enumerate(weights):
        ssim, contrast = _terms(x, y)
        term = ssim if scale == len(weights) - 1 else contrast
        product *= max(term, 0) ** weight
        x, y = ((v[0::2, 0::2] + v[1::2, 0::2] + v[0::2, 1::2] + v[1::2, 1::2]) / 4 for v in (x, y))
    return product


@pytest.mark.parametrize("side", [16, 32, 128])
@pytest.mark.parametrize("mix", [0.0, 0.6])
def test_it_is_numpys(side, mix):
    first, other = _images(4, side, seed=1), _images(4, side, seed=2)
    second = (mix * first + (1 - mix) * other.float()).to(torch.uint8)
    expected = [_expected(x, y, SCALE_WEIGHTS) for x, y in zip(first, second, strict=True)]
    np.testing.assert_allclose(ms_ssim(first, second), expected, atol=1e-9)


@pytest.mark.parametrize(("side", "scales"), [(4, 3), (8, 4)])
def test_small_images_use_fewer_scales(side, scales):
    first, second = _images(4, side, seed=1), _images(4, side, seed=1)
    second[:, :, 0] = 90
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    expected = [_expected(x, y, weights) for x, y in zip(first, second, strict=True)]
    assert min(expected) > 0
    np.testing.assert_allclose(ms_ssim(first, second), expected, atol=1e-9)


def test_inverted_images_have_nothing_in_common():
    images = _images(4, 32)
    assert ms_ssim(images, 255 - images).tolist() == [0.0] * 4


def test_it_is_symmetric_and_grey_scores_as_its_rgb_copy():
    first, second = _images(4, 32, seed=1, channels=1), _images(4, 32, seed=2, channels=1)
    scores = ms_ssim(first, second)
    np.testing.assert_allclose(ms_ssim(second, first), scores, atol=1e-12)
    np.testing.assert_allclose(
        ms_ssim(first.repeat(1, 3, 1, 1), second.repeat(1, 3, 1, 1)), scores, atol=1e-12
    )


def test_the_mean_is_over_neighbouring_pairs_however_they_are_batched(monkeypatch):
    images = _images(14, 16)
    images[1::2] = (images[1::2] // 4 + images[::2] // 4 * 3).to(torch.uint8)
    mean = mean_ms_ssim([images])
    assert mean == pytest.approx(ms_ssim(images[::2], images[1::2]).mean().item(), abs=1e-12)
    monkeypatch.setattr("progan.metrics.ms_ssim.VALUES_AT_ONCE", 3 * images[0].numel())
    assert mean_ms_ssim([images]) == pytest.approx(mean, abs=1e-12)
    assert mean_ms_ssim(images.split(4)) == pytest.approx(mean, abs=1e-12)
