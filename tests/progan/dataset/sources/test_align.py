"""Alignment against CelebA-HQ's geometry worked out by hand, on pictures whose points are all known."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from progan.dataset.sources.align import align_face, face_quad, gaussian_blur, pad_picture
from progan.dataset.sources.source import UnusableImage

# A face upright and unturned, relative to the middle of its eyes: eyes 2 apart, the mouth 2.4 below.
FACE = np.array([(-1, 0), (1, 0), (0, 1.2), (-0.7, 2.4), (0.7, 2.4)], float)
HALF_SIDE = max(2.0 * 2, 1.8 * 2.4)
CENTRE = np.array((0, 0.1 * 2.4))
COLOURS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255), (0, 255, 255)])


def placed(points, degrees, scale, where):
    """Turn, enlarge and move points of the face into a picture."""
    turn = np.deg2rad(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return points @ rotation.T * scale + where


@pytest.mark.parametrize(
    ("degrees", "scale", "resolution"),
    [(25, 60, 64), (-70, 45, 128), (180, 30, 64), (10, 100, 32), (15, 8, 64)],
)
def test_the_landmarks_land_where_the_geometry_says(degrees, scale, resolution):
    side = int(14 * scale)
    landmarks = placed(FACE, degrees, scale, (side / 2, side / 2))
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    picture = np.full((side, side, 3), 255, np.uint8)
    for (u, v), colour in zip(landmarks, COLOURS, strict=True):
        picture[np.hypot(x - u, y - v) < 0.35 * scale] = colour
    result = align_face(Image.fromarray(picture), landmarks, resolution)
    assert result.pixels.shape == (resolution, resolution, 3)
    assert result.enlarged == (2 * HALF_SIDE * scale < resolution)
    expected = ((FACE - CENTRE) / HALF_SIDE + 1) / 2 * resolution
    pixel = resolution / (2 * HALF_SIDE * scale)  # of the picture, in the result
    for where, colour in zip(expected, COLOURS, strict=True):
        like = np.exp(-((result.pixels - colour.astype(float)) ** 2).sum(2) / 60**2)
        rows, columns = np.mgrid[:resolution, :resolution] + 0.5
        mean_position = np.array([(columns * like).sum(), (rows * like).sum()]) / like.sum()
        assert np.abs(mean_position - where).max() < 0.3 + pixel


@pytest.mark.parametrize(
    ("degrees", "scale", "resolution"),
    [(33, 90, 32), (-20, 12, 128), (5, 40, 512)],
)
def test_every_pixel_is_the_pictures_value_at_that_place(degrees, scale, resolution):
    def colours(x, y):
        waves = [np.sin(x / (2.2 * scale)), np.cos(y / (2.5 * scale)), np.sin((x + y) / (4 * scale))]
        return 127.5 + 100 * np.stack(waves, -1)

    side = 14 * scale
    rows, columns = np.mgrid[:side, :side]
    picture = Image.fromarray(np.rint(colours(columns + 0.5, rows + 0.5)).astype(np.uint8))
    landmarks = placed(FACE, degrees, scale, (side / 2, side / 2))
    middles = np.arange(resolution) + 0.5 - 0.125  # the quad is sampled half a pixel, of four, too far left
    steps = (middles / resolution * 2 - 1) * HALF_SIDE
    grid = np.stack(np.meshgrid(steps, steps), -1) + CENTRE
    zoom = resolution / (2 * HALF_SIDE * scale)
    reduced = max(np.floor(0.5 / zoom), 1) / max(2 ** np.ceil(np.log2(zoom)), 1)
    where = side / 2 + 0.5 + 0.5 * reduced  # the geometry adds half a pixel before and after reduction
    x, y = placed(grid.reshape(-1, 2), degrees, scale, where).T
    expected = colours(x, y).reshape(resolution, resolution, 3)
    pixels = align_face(picture, landmarks, resolution).pixels
    assert np.abs(pixels - expected).mean() < 0.7
    assert np.abs(pixels - expected).max() < 2.5


def test_the_quad_follows_whichever_distance_is_larger():
    quad, side = face_quad(FACE)
    assert side == pytest.approx(2 * 1.8 * 2.4)
    np.testing.assert_allclose(np.hypot(*(np.roll(quad, 1, 0) - quad).T), side, rtol=1e-6)
    np.testing.assert_allclose(quad.mean(0), CENTRE + 0.5, rtol=1e-6)
    assert face_quad(FACE * (3, 1))[1] == pytest.approx(2 * 2.0 * 6)


@pytest.mark.parametrize("sigma", [0.64, 20.0])
@pytest.mark.parametrize("shape", [(40, 31, 3), (3, 50, 3)])
def test_the_blur_is_scipys(sigma, shape):
    image = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    np.testing.assert_allclose(
        gaussian_blur(image, sigma), gaussian_filter(image, [sigma, sigma, 0]), atol=1e-4
    )


@pytest.mark.parametrize("pads", [(20, 9, 12, 30), (60, 9, 9, 9)])
def test_padding_is_the_reference_formula(pads):
    image = np.random.default_rng(2).integers(0, 256, (40, 50, 3), np.uint8)
    left, top, right, bottom = pads
    expected = np.pad(image.astype(np.float64), ((top, bottom), (left, right), (0, 0)), "reflect")
    blurred = gaussian_filter(expected, [2.5, 2.5, 0])
    height, width, _ = expected.shape
    mask = np.empty((height, width, 1))
    for y in range(height):
        for x in range(width):
            inwards = (x / left, y / top, (width - 1 - x) / right, (height - 1 - y) / bottom)
            mask[y, x] = 1 - min(inwards)
    expected += (blurred - expected) * np.clip(3 * mask + 1, 0, 1)
    expected += (np.median(expected, axis=(0, 1)) - expected) * np.clip(mask, 0, 1)
    result = pad_picture(image, np.array(pads), 2.5)
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() <= 0.501


@pytest.mark.parametrize("where", [(0, 0), (399, 200), (420, 420)])
def test_a_face_at_the_edge_is_padded_smoothly(where):
    rng = np.random.default_rng(3)
    noise = Image.fromarray(rng.integers(0, 256, (25, 25, 3), np.uint8)).resize((400, 400))
    pixels = align_face(noise, placed(FACE, 12, 30, where), 64).pixels.astype(float)
    assert pixels.std() > 5
    assert np.abs(np.diff(pixels, axis=0)).max() < 90  # no black beyond the edge


@pytest.mark.parametrize(
    ("landmarks", "why"),
    [
        (np.zeros((5, 2)), "one point"),
        (FACE * 10 + 5000, "outside"),
        (FACE * 1e6, "much larger"),
    ],
)
def test_impossible_landmarks_make_an_image_unusable(landmarks, why):
    with pytest.raises(UnusableImage, match=why):
        align_face(Image.new("RGB", (100, 100)), landmarks, 32)
