"""Pillow 3.1.1's resampling, bit for bit: CelebA-HQ was made with it, and its digests depend on it.

Later versions resize in fixed point instead of single precision, which changes some values by 1, and sample
a quadrilateral half a pixel further, which changes most values.
"""

import numpy as np
from PIL import Image

LANCZOS_SUPPORT = np.float32(3)
PIXELS_AT_ONCE = 2048  # of a row in a sum: few enough to stay in the processor's cache


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize by Lanczos's window, first across, rounded, then down: uint8 [H,W,C] → [height,width,C]."""
    across = _resample_rows(pixels.swapaxes(0, 1), width)
    return _resample_rows(across.swapaxes(0, 1), height)


def sample_quad(pixels: np.ndarray, quad: np.ndarray, side: int) -> np.ndarray:
    """Sample the quadrilateral bilinearly, black outside the picture: uint8 [H,W,3] → [side,side,3].

    quad: float32 [4,2], x and y of the top left, bottom left, bottom right and top right corner.
    """
    top_left, bottom_left, bottom_right, top_right = quad
    origin = top_left.astype(np.float64)
    across = (top_right - top_left).astype(np.float64) / side
    down = (bottom_left - top_left).astype(np.float64) / side
    both = (bottom_right - bottom_left - top_right + top_left).astype(np.float64) / side**2

    # Pillow now adds half a pixel to x and y; the corners compensate for it.
    low, high = -0.5, side - 0.5
    positions = ((low, low), (low, high), (high, high), (high, low))
    corners = [tuple(origin + across * x + down * y + both * (x * y)) for x, y in positions]
    image = Image.fromarray(pixels)
    data = [float(value) for corner in corners for value in corner]
    return np.asarray(image.transform((side, side), Image.Transform.QUAD, data, Image.Resampling.BILINEAR))


def _resample_rows(rows: np.ndarray, size: int) -> np.ndarray:
    """Resize the first axis: uint8 [N,M,C] → [size,M,C]. Sums are in single precision, term by term."""
    first, weights = _lanczos_weights(len(rows), size)
    result = np.empty((size, *rows.shape[1:]), np.uint8)
    for begin in range(0, rows.shape[1], PIXELS_AT_ONCE):
        block = rows[:, begin : begin + PIXELS_AT_ONCE].astype(np.float32, order="C")
        total, term = np.empty_like(block[0]), np.empty_like(block[0])
        for output in range(size):
            total.fill(0.5)
            for row, weight in zip(block[first[output] :], weights[output], strict=False):
                np.multiply(row, weight, out=term)
                np.add(total, term, out=total)
            result[output, begin : begin + PIXELS_AT_ONCE] = np.clip(total, 0, 255, out=total)
    return result


def _lanczos_weights(length: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of `size` outputs, the first of its `length` inputs, int [size], and weights, [size,K].

    Single and double precision alternate as in Pillow's C code.
    """
    scale = np.float32(length / size)
    stretch = max(scale, np.float32(1))
    support, density = LANCZOS_SUPPORT * stretch, np.float32(1) / stretch
    centre = ((np.arange(size) + 0.5) * np.float64(scale)).astype(np.float32)
    first = np.maximum(np.floor(centre - support), 0).astype(int)
    last = np.minimum(np.ceil(centre + support), length).astype(int)
    x = first[:, None] + np.arange((last - first).max())
    distance = (x.astype(np.float32) - centre[:, None]).astype(np.float64) + 0.5
    weights = _lanczos((distance * np.float64(density)).astype(np.float32)) * density
    weights[x >= last[:, None]] = 0
    return first, weights / np.cumsum(weights, axis=1)[:, -1:]


def _lanczos(x: np.ndarray) -> np.ndarray:
    """Lanczos's window of support 3: float32 → float32."""
    inside = (x >= -LANCZOS_SUPPORT) & (x < LANCZOS_SUPPORT)
    return np.where(inside, _sinc(x) * _sinc(x / LANCZOS_SUPPORT), np.float32(0))


def _sinc(x: np.ndarray) -> np.ndarray:
    angle = (x * np.float64(np.pi)).astype(np.float32).astype(np.float64)
    safe = np.where(angle == 0, 1, angle)
    return np.where(angle == 0, 1, np.sin(safe) / safe).astype(np.float32)
