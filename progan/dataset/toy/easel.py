"""Outlines of shapes, and an easel that paints them into a picture through one affine map."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from progan.dataset.toy.colours import Colour

Points = NDArray[np.float64]  # (n, 2): x, y

SUPERSAMPLING = 2

ANGLE = np.linspace(0, 2 * math.pi, 40, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1)  # (40, 2)
ACROSS = np.linspace(-1, 1, 17)
STEP = np.linspace(0, 1, 6, endpoint=False)[:, None]
BASIS = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
CATMULL_ROM = STEP ** np.arange(4) @ BASIS  # (6 steps, 4 knots)


def curve(knots: Sequence[tuple[float, float]] | Points, closed: bool = False) -> Points:
    """Points on a Catmull-Rom spline through `knots`, six steps per segment."""
    knots = np.asarray(knots, dtype=float)
    before, after = (knots[-1:], knots[:2]) if closed else (knots[:1], knots[-1:])
    around = np.concatenate([before, knots, after])
    windows = np.stack([around[:-3], around[1:-2], around[2:-1], around[3:]], axis=1)  # (segments, 4, 2)
    path = (CATMULL_ROM @ windows).reshape(-1, 2)
    return path if closed else np.concatenate([path, knots[-1:]])


def mirrored(*right_half: tuple[float, float]) -> Points:
    """Knots of a symmetric outline: its right half, then the mirror image of it in reverse order."""
    return np.array([*right_half, *((-x, y) for x, y in reversed(right_half) if x > 0)])


def oval(x: float, y: float, rx: float, ry: float) -> Points:
    return CIRCLE * (rx, ry) + (x, y)


def arch(half_width: float, ends: float, middle: float) -> Points:
    """A parabola from (-half_width, ends) through (0, middle) to (half_width, ends)."""
    return np.stack([ACROSS * half_width, middle + (ends - middle) * ACROSS**2], axis=1)


def between(line: Points, other: Points) -> Points:
    """The outline of the area between two lines of the same direction."""
    return np.concatenate([line, other[::-1]])


def ribbon(path: Points, start: float, end: float) -> Points:
    """The outline of a brush stroke along `path`, of width `start` at its start and `end` at its end."""
    steps = np.diff(path, axis=0, append=2 * path[-1:] - path[-2:-1])
    normal = steps[:, ::-1] * (-1, 1) / np.hypot(steps[:, 0], steps[:, 1])[:, None]
    reach = normal * np.linspace(start / 2, end / 2, len(path))[:, None]
    return between(path + reach, path - reach)


class Easel:
    """A supersampled picture, and the affine map from the face's frame to its pixels."""

    def __init__(self, image: Image.Image, matrix: NDArray[np.float64]):
        self.image, self.matrix = image, matrix  # matrix: (2, 3), to pixels
        self.pen = ImageDraw.Draw(image)
        self.unit = math.sqrt(abs(np.linalg.det(matrix[:, :2])))  # pixels between the eyes

    def moved(self, x: float, y: float = 0.0) -> "Easel":
        """An easel for the same picture with the frame's origin at (x, y)."""
        moved = self.matrix.copy()
        moved[:, 2] += self.matrix[:, :2] @ (x, y)
        return Easel(self.image, moved)

    def to_pixels(self, points: Points) -> Points:
        return points @ self.matrix[:, :2].T + self.matrix[:, 2] - 0.5  # Pillow's pixel 0 is centred on 0

    def fill(self, outline: Points, colour: Colour) -> None:
        self.pen.polygon(self.to_pixels(outline).ravel().tolist(), fill=colour)

    def glow(
        self, outline: Points, colour: Colour, soft: float, opacity: float, inside: Points | None = None
    ) -> None:
        """Fill `outline` with its edge blurred by `soft`, clipped to the outline `inside` if there is one."""
        shape, reach = self.to_pixels(outline), soft * self.unit
        low, high = shape.min(axis=0) - reach, shape.max(axis=0) + reach
        if inside is not None:
            window = self.to_pixels(inside)
            low, high = np.maximum(low, window.min(axis=0)), np.minimum(high, window.max(axis=0))
        corner = np.maximum(low, 0) // SUPERSAMPLING  # masks are blurred, so the final resolution suffices
        width, height = (np.minimum(high, self.image.size) // SUPERSAMPLING - corner).astype(int).tolist()
        if width < 1 or height < 1:
            return

        def stencil(points: Points, value: int) -> Image.Image:
            mask = Image.new("L", (width, height))
            ImageDraw.Draw(mask).polygon((points / SUPERSAMPLING - corner).ravel().tolist(), fill=value)
            return mask

        mask = stencil(shape, round(255 * opacity)).filter(ImageFilter.BoxBlur(reach / SUPERSAMPLING))
        if inside is not None:
            mask = ImageChops.multiply(mask, stencil(window, 255))
        mask = mask.resize((width * SUPERSAMPLING, height * SUPERSAMPLING), Image.Resampling.NEAREST)
        left, top = (corner * SUPERSAMPLING).astype(int).tolist()
        self.image.paste(colour, (left, top), mask)
