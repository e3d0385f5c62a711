"""Alignment bit for bit: as computed by Pillow 3.1.1 and the NumPy of its time, and by the literal steps."""

import hashlib

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from progan.dataset.sources.align import align_face


def mosaic(width, height, cell):
    """Random squares, the same on every machine."""
    cells = np.random.RandomState(1).randint(0, 256, (height // cell + 1, width // cell + 1, 3))
    return np.kron(cells, np.ones((cell, cell, 1), int))[:height, :width].astype(np.uint8)


def aligned(picture, landmarks, resolution):
    return align_face(Image.fromarray(picture), np.reshape(landmarks, (5, 2)), resolution).pixels


WHOLE = (2600, 2900, 9), (1050, 1150, 1530, 1210, 1250, 1500, 1050, 1730, 1380, 1775)
EDGE = (500, 600, 7), (45, 100, 160, 76, 118, 160, 85, 240, 165, 222)
TINY = (90, 90, 5), (41, 39, 48, 40, 44, 44, 42, 48, 46, 48)  # its border is the least, 3 px
HUGE = (4400, 4500, 23), (1600, 1500, 2790, 1460, 2180, 2300, 1700, 3000, 2600, 2980)
TURNED = (900, 800, 5), (400, 310, 545, 190, 560, 330, 535, 475, 635, 390)
CORNER = (200, 200, 4), (12, 20, 50, 27, 28, 45, 10, 60, 35, 65)
SMALL = (150, 170, 4), (60, 60, 62, 60, 61, 62, 60, 64, 62, 64)
UPRIGHT = (300, 300, 6), (100, 100, 150, 100, 125, 130, 108, 160, 142, 160)
REDUCED = (1200, 1000, 11), (300, 700, 640, 720, 500, 400, 320, 150, 600, 140)  # by 31, and head down

# MD5 of [C,H,W] as Pillow 3.1.1, NumPy 1.26 and SciPy 1.11 give it.
RECORDED = [
    (*WHOLE, 1024, "7f84943cd4555f9cf9909883c7acf5af"),
    pytest.param(*EDGE, 1024, "eb8270b5a01a93a22edfddfbe001f510", marks=pytest.mark.slow),
    pytest.param(*TINY, 1024, "2bac42e36e748f27dc184b99c6b24053", marks=pytest.mark.slow),
    pytest.param(*HUGE, 1024, "0537fa3968a111e97cf4becd96c69ce8", marks=pytest.mark.slow),
    (*TURNED, 256, "2cc270a5eb1153128e042484dd8f45cd"),
    (*CORNER, 128, "a9625c571f0f2de6df22d3fb356261bb"),
    (*SMALL, 128, "3c57b01e606f8726d515fcb5800a86b8"),
    (*UPRIGHT, 64, "2e0836fe80eacb5031603bb2b61eb460"),
    (*REDUCED, 32, "cc66ada8022550bf9c4e9f8f07923519"),
]


@pytest.mark.parametrize(("picture", "landmarks", "resolution", "digest"), RECORDED)
def test_recorded_results(picture, landmarks, resolution, digest):
    pixels = aligned(mosaic(*picture), landmarks, resolution)
    assert hashlib.md5(pixels.transpose(2, 0, 1).tobytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ("picture", "landmarks", "resolution"),
    [
        (*CORNER, 128),
        (*SMALL, 128),
        (*UPRIGHT, 128),
        (*REDUCED, 64),
        (*TURNED, 128),
        pytest.param(*WHOLE, 1024, marks=pytest.mark.slow),
        pytest.param(*EDGE, 1024, marks=pytest.mark.slow),
        pytest.param(*HUGE, 1024, marks=pytest.mark.slow),
    ],
)
def test_the_steps_read_literally(picture, landmarks, resolution):
    photo = mosaic(*picture)
    expected = literally(photo, np.float32(landmarks).reshape(5, 2), resolution)
    np.testing.assert_array_equal(aligned(photo, landmarks, resolution), expected)


def literally(image, points, resolution):
    """The paper's tool step by step, one statement after the other, without its libraries' resampling."""
    turn = lambda v: np.array([-v[1], v[0]])  # noqa: E731
    eyes = (points[0] + points[1]) * 0.5 + 0.5
    mouth = (points[3] + points[4]) * 0.5 + 0.5
    across, down = points[1] - points[0], mouth - eyes
    x = across - turn(down)
    x /= np.hypot(x[0], x[1])
    x *= max(float(np.hypot(*across)) * 2.0, float(np.hypot(*down)) * 1.8)
    y, c = turn(x), eyes + down * 0.1
    quad = np.stack([c - x - y, c - x + y, c + x + y, c + x - y])
    zoom = resolution / (float(np.hypot(*x)) * 2)

    shrink = int(np.floor(0.5 / zoom))
    if shrink > 1:
        height, width = image.shape[:2]
        image = lanczos(image, round(width / shrink), round(height / shrink))
        quad, zoom = quad / shrink, zoom * shrink

    border = max(round(0.1 * resolution / zoom), 3)
    height, width = image.shape[:2]
    left, top = max(lowest(quad, 0) - border, 0), max(lowest(quad, 1) - border, 0)
    right, bottom = min(highest(quad, 0) + border, width), min(highest(quad, 1) + border, height)
    image = image[top:bottom, left:right]
    quad = quad - np.float32([left, top])

    up = int(2 ** np.ceil(np.log2(zoom)))
    if up > 1:
        image = lanczos(image, image.shape[1] * up, image.shape[0] * up)
        quad, zoom = quad * up, zoom / up

    height, width = image.shape[:2]
    pads = [
        max(-lowest(quad, 0) + border, 0),
        max(-lowest(quad, 1) + border, 0),
        max(highest(quad, 0) - width + border, 0),
        max(highest(quad, 1) - height + border, 0),
    ]
    if max(pads) > border - 4:
        left, top, right, bottom = (max(pad, round(0.3 * resolution / zoom)) for pad in pads)
        image = np.pad(image.astype(np.float32), ((top, bottom), (left, right), (0, 0)), "reflect")
        height, width = image.shape[:2]
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        nearest = np.minimum(
            np.minimum(columns / left, rows / top),
            np.minimum((width - 1 - columns) / right, (height - 1 - rows) / bottom),
        )
        mask = (1 - nearest)[:, :, None]
        sigma = 0.02 * resolution / zoom
        image += (gaussian_filter(image, [sigma, sigma, 0]) - image) * np.clip(mask * 3 + 1, 0, 1)
        image += (np.median(image, axis=(0, 1)) - image) * np.clip(mask, 0, 1)
        image = np.clip(np.round(image), 0, 255).astype(np.uint8)
        quad = quad + np.float32([left, top])

    return lanczos(bilinear(image, quad + np.float32(0.5), 4 * resolution), resolution, resolution)


def lowest(quad, axis):
    return int(np.floor(quad[:, axis].min()))


def highest(quad, axis):
    return int(np.ceil(quad[:, axis].max()))


def bilinear(image, quad, side):
    """Between the quad's corners at x/side, y/side, from the four pixels around; the fraction is cut off."""
    nw, sw, se, ne = quad
    result = np.zeros((side, side, 3), np.uint8)
    columns = np.arange(side, dtype=float)
    height, width = image.shape[:2]
    for row in range(side):
        x, y = (
            float(nw[i])
            + float(ne[i] - nw[i]) / side * columns
            + float(sw[i] - nw[i]) / side * row
            + float(se[i] - sw[i] - ne[i] + nw[i]) / side**2 * columns * row
            for i in (0, 1)
        )
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        x, y = x - 0.5, y - 0.5
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        dx, dy = (x - left)[:, None], (y - top)[:, None]

        def line(number, left=left, dx=dx):
            number = np.clip(number, 0, height - 1)
            a, b = (image[number, np.clip(left + i, 0, width - 1)].astype(float) for i in (0, 1))
            return a + (b - a) * dx

        values = line(top) + (line(top + 1) - line(top)) * dy
        result[row] = np.where(inside[:, None], values, 0).astype(np.uint8)
    return result


def lanczos(image, width, height):
    """Across, then down, all in single precision, one tap at a time, 0.5 first; the fraction is cut off."""
    for axis, size in ((1, width), (0, height)):
        length = image.shape[axis]
        scale = np.float32(length / size)
        stretch = max(scale, np.float32(1))
        reach = np.float32(3) * stretch
        taps = np.zeros((int(np.ceil(reach)) * 2 + 2, size), np.float32)
        first = np.zeros(size, int)
        for place in range(size):
            centre = np.float32((place + 0.5) * float(scale))
            first[place] = max(int(np.floor(centre - reach)), 0)
            last = min(int(np.ceil(centre + reach)), length)
            total = np.float32(0)
            for tap, x in enumerate(range(first[place], last)):
                t = np.float32((float(np.float32(x) - centre) + 0.5) * float(np.float32(1) / stretch))
                taps[tap, place] = window(t) * (np.float32(1) / stretch)
                total += taps[tap, place]
            taps[:, place] /= total
        line = (1, -1, 1) if axis == 1 else (-1, 1, 1)
        result = np.full((*image.shape[:axis], size, *image.shape[axis + 1 :]), 0.5, np.float32)
        for tap, weights in enumerate(taps):
            values = image.take(np.minimum(first + tap, length - 1), axis).astype(np.float32)
            result += values * weights.reshape(line)
        image = np.clip(result, 0, 255).astype(np.uint8)
    return image


def window(x):
    return sinc(x) * sinc(x / np.float32(3)) if -3 <= x < 3 else np.float32(0)


def sinc(x):
    if x == 0:
        return np.float32(1)
    angle = float(np.float32(float(x) * np.pi))
    return np.float32(np.sin(angle) / angle)
