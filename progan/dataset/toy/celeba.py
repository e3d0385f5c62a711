"""toy-celeba: painted portraits in CelebA's in-the-wild layout, for machines without photographs.

A portrait is a face painted at a random position of a picture. Its landmarks are exact by construction, and
its attributes derive from the same traits that it is painted from.
"""

import math
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from progan.dataset.toy.colours import BACKDROPS, BLACK, mix, vary
from progan.dataset.toy.easel import SUPERSAMPLING, Easel
from progan.dataset.toy.face import LANDMARKS, Face, pick, weigh
from progan.dataset.toy.painting import paint_face
from progan.files import atomic_folder

SCENES = {"gradient": 0.35, "plain": 0.25, "bokeh": 0.2, "horizon": 0.2}


def backdrop(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """A plain wall, a gradient, lights out of focus or a horizon: RGB, `width` × `height` px."""
    colour, other = (vary(rng, pick(rng, BACKDROPS), 8) for _ in range(2))
    other = mix(colour, other, 0.7)
    image = Image.new("RGB", (width // 4, height // 4), colour)
    kind = weigh(rng, SCENES)
    if kind == "gradient":
        mask = Image.linear_gradient("L").rotate(pick(rng, (0, 90, 180, 270)))
        image.paste(other, (0, 0), mask.resize(image.size))
    elif kind == "bokeh":
        for _ in range(rng.integers(4, 10)):
            x, y, radius = rng.uniform(0, image.size[0]), rng.uniform(0, image.size[1]), rng.uniform(3, 10)
            light = mix(colour, other, rng.uniform(0.3, 1))
            ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=light)
    elif kind == "horizon":
        line = rng.uniform(0.35, 0.7) * image.size[1]
        ImageDraw.Draw(image).rectangle((0, line, *image.size), fill=mix(other, BLACK, 0.2))
    soft = image.filter(ImageFilter.GaussianBlur(rng.uniform(1, 3)))
    return soft.resize((width, height), Image.Resampling.BICUBIC)


def pose(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    """A random affine map from the face's frame to pixels of a picture of that size: float64 [2, 3]."""
    side = min(width, height)
    unit, tilt = side / 4 * rng.uniform(0.62, 0.95), math.radians(float(np.clip(rng.normal(0, 9), -25, 25)))
    stretch = rng.uniform(0.94, 1.06)
    turned = np.array([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]])
    linear = unit * turned @ np.diag([stretch, 1 / stretch])
    margin = 1.65 * unit  # less than the aligned crop's 2, so that the crop sometimes crosses the edge
    middle = rng.uniform(margin, (width - margin, height - margin))
    return np.column_stack([linear, middle - linear @ (0, 0.11)])


def develop(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Reduce the supersampled picture and add what a camera does: exposure, a colour cast and grain."""
    gains = rng.uniform(0.92, 1.06) * rng.uniform(0.97, 1.03, 3)
    curves = np.clip(np.arange(256) * gains[:, None], 0, 255).astype(int).ravel().tolist()  # 3 × 256
    pixels = np.asarray(image.reduce(SUPERSAMPLING).point(curves), dtype=np.int16)
    strength = rng.integers(1, 7)
    pixels += rng.integers(-strength, strength, (*pixels.shape[:2], 1), dtype=np.int8, endpoint=True)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def portrait(seed: int, index: int) -> tuple[Image.Image, NDArray[np.int64], dict[str, bool]]:
    """Picture `index` of the dataset `seed`, its landmarks, int64 [5, 2] in pixels, and its attributes."""
    rng = np.random.default_rng([seed, index])
    face = Face.draw(rng)
    width = int(rng.integers(120, 250))
    height = int(np.clip(width * rng.uniform(0.85, 1.4), 120, 320))
    matrix = pose(rng, width, height)
    canvas = (width * SUPERSAMPLING, height * SUPERSAMPLING)
    scene = backdrop(rng, width, height).resize(canvas, Image.Resampling.NEAREST)
    easel = Easel(scene, matrix * SUPERSAMPLING)
    paint_face(easel, face)
    landmarks = np.floor(face.landmarks() @ matrix[:, :2].T + matrix[:, 2]).astype(int)
    return develop(rng, easel.image), landmarks, face.attributes()


def paint(out: Path, images: int, seed: int, workers: int | None = None) -> None:
    """Write `images` portraits to the folder `out`, whole or not at all, in the layout of in-the-wild CelebA.

    The files are `img_celeba/000001.jpg` …, `list_landmarks_celeba.txt` and `list_attr_celeba.txt`. Each
    picture depends on (seed, its number) alone, so any number of `workers` (None: one per core) gives the
    same bytes.
    """
    workers = min(workers or os.cpu_count() or 1, images)
    with atomic_folder(out) as folder:
        (folder / "img_celeba").mkdir()
        work, numbers = partial(_write_picture, folder / "img_celeba", seed), range(1, images + 1)
        if workers == 1:
            rows = list(map(work, numbers))
        else:
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, spawn, _ignore_interrupts) as pool:
                rows = list(pool.map(work, numbers, chunksize=8))
        axes = [f"{name}_{axis}" for name in LANDMARKS for axis in "xy"]
        landmark_rows = [
            f"{name} " + " ".join(f"{value:4d}" for value in landmarks) for name, landmarks, _ in rows
        ]
        attribute_names = list(rows[0][2])
        attribute_rows = [
            f"{name} " + " ".join(" 1" if has else "-1" for has in traits.values())
            for name, _, traits in rows
        ]
        _write_list(folder / "list_landmarks_celeba.txt", axes, landmark_rows)
        _write_list(folder / "list_attr_celeba.txt", attribute_names, attribute_rows)


def _write_picture(folder: Path, seed: int, index: int) -> tuple[str, list[int], dict[str, bool]]:
    """Write picture `index` to `folder`; return its file name, landmarks (x, y, x, y …) and attributes."""
    image, landmarks, attributes = portrait(seed, index)
    name = f"{index:06d}.jpg"
    image.save(folder / name, quality=75 + (seed + 7 * index) % 21)
    return name, landmarks.ravel().tolist(), attributes


def _write_list(path: Path, columns: list[str], rows: list[str]) -> None:
    path.write_text("\n".join([str(len(rows)), " ".join(columns), *rows, ""]))


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
