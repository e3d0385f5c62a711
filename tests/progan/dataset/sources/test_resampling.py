"""Resampling against Pillow 3.1.1's own results."""

import hashlib

import numpy as np
import pytest

from progan.dataset.sources.resampling import resize, sample_quad


def mosaic(width, height, cell):
    """Random squares, the same on every machine."""
    cells = np.random.RandomState(2).randint(0, 256, (height // cell + 1, width // cell + 1, 3))
    return np.kron(cells, np.ones((cell, cell, 1), int))[:height, :width].astype(np.uint8)


# MD5 of the results of Pillow 3.1.1, compiled by gcc for x86-64, for the same mosaics.
RESIZED = [
    ((60, 50, 1), (30, 20), "44d1d3958935d05c24223624198551db"),
    ((60, 50, 1), (240, 200), "b7c61bcc4addcf9d46a18e22761c61ff"),
    ((101, 37, 2), (33, 300), "d66c572bb642eb26d21ed782df925df9"),
    ((700, 500, 1), (100, 71), "46b52b1f497690758e80770792fea1f1"),
    ((5, 4, 1), (64, 64), "8ce8fd1e0aaae8be095669fe13600de1"),
    ((512, 512, 1), (128, 128), "e414a0428c535a845ea3cb053ad64125"),
]
SAMPLED = [
    (
        (90, 80, 1),
        64,
        [(20.25, 10.5), (15.5, 60.75), (65.75, 65.5), (70.5, 15.25)],
        "1217c49cbd57bbfa6335659fb92c9106",
    ),
    (
        (300, 200, 3),
        256,
        [(50.1, 40.2), (30.3, 150.4), (140.5, 170.6), (160.7, 60.8)],
        "f772f0868c0cae42801735fa2d1728bd",
    ),
    (
        (40, 40, 1),
        512,
        [(15.3, 10), (10, 25.3), (25.3, 30.6), (30.6, 15.3)],
        "f6d229e5186802b86eaf70258fb37854",
    ),
]


@pytest.mark.parametrize(("picture", "size", "digest"), RESIZED)
def test_resizing_is_pillow_3s(picture, size, digest):
    assert hashlib.md5(resize(mosaic(*picture), *size).tobytes()).hexdigest() == digest


@pytest.mark.parametrize(("picture", "side", "quad", "digest"), SAMPLED)
def test_sampling_is_pillow_3s(picture, side, quad, digest):
    sampled = sample_quad(mosaic(*picture), np.float32(quad), side)
    assert hashlib.md5(sampled.tobytes()).hexdigest() == digest


def test_it_is_black_outside_the_picture():
    white = np.full((20, 20, 3), 255, np.uint8)
    sampled = sample_quad(white, np.float32([(-20, -20), (-20, 20), (20, 20), (20, -20)]), 64)
    assert (sampled[:32, :32] == 0).all()
    assert (sampled[33:, 33:] == 255).all()
