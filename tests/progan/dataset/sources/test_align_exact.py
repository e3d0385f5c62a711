"""Alignment bit for bit, as Pillow 3.1.1 and the NumPy and SciPy of its time compute it."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from progan.dataset.sources.align import align_face


def mosaic(width, height, cell):
    """Random squares, the same on every machine."""
    cells = np.random.RandomState(1).randint(0, 256, (height // cell + 1, width // cell + 1, 3))
    return np.kron(cells, np.ones((cell, cell, 1), int))[:height, :width].astype(np.uint8)


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
    photo = Image.fromarray(mosaic(*picture))
    pixels = align_face(photo, np.reshape(landmarks, (5, 2)), resolution).pixels
    assert hashlib.md5(pixels.transpose(2, 0, 1).tobytes()).hexdigest() == digest
