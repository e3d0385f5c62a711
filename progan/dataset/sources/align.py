"""CelebA-HQ's alignment: a face is located by five landmarks, turned upright and cropped to a square.

The steps and constants are those of the paper's appendix C and its dataset tool, with the result's
1024 px generalised to any resolution R. At 1024 px the result equals the tool's bit for bit (given the same
decoded photograph), as the digests of CelebA-HQ require; hence the single precision of the quadrilateral.
"""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from progan.dataset.sources.resampling import resize, sample_quad
from progan.dataset.sources.source import Picture, UnusableImage

LINES_AT_ONCE = 16  # in a blur: few enough to stay in the processor's cache


@dataclass(frozen=True)
class Region:
    """A picture and the quadrilateral to crop from it.

    pixels: uint8 [H,W,3]; quad: float32 [4,2], x and y of the top left, bottom left, bottom right and
    top right corner; zoom: output pixels per picture pixel; border: margin around the quad in picture pixels,
    as far as the picture has any.
    """

    pixels: np.ndarray
    quad: np.ndarray
    zoom: float
    border: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest x and y of the quad, rounded outwards to pixels: int [2] each."""
        return np.floor(self.quad.min(0)).astype(int), np.ceil(self.quad.max(0)).astype(int)


def align_face(image: Image.Image, landmarks: np.ndarray, resolution: int) -> Picture:
    """Crop the face: uint8 [R,R,3].

    image: mode RGB; landmarks: [5,2], x and y in pixels of the eyes (left one in the picture first),
    the nose and the corners of the mouth. Raises UnusableImage if they describe no face in the picture.
    """
    quad, side = face_quad(landmarks)
    region = Region(np.asarray(image), quad, resolution / side)
    enlarged = region.zoom > 1
    region = _pad(_upscale(_crop(_shrink(region), resolution)), resolution)
    fine = sample_quad(region.pixels, region.quad + np.float32(0.5), 4 * resolution)
    return Picture(resize(fine, resolution, resolution), enlarged)


def face_quad(landmarks: np.ndarray) -> tuple[np.ndarray, float]:
    """The square around a face, as in `Region`, and its side, from the positions of eyes and mouth.

    Raises UnusableImage if the landmarks have no extent.
    """
    eye_left, eye_right, _, mouth_left, mouth_right = np.asarray(landmarks, np.float32)
    eyes = (eye_left + eye_right) / 2 + 0.5
    mouth = (mouth_left + mouth_right) / 2 + 0.5
    eye_to_eye, eye_to_mouth = eye_right - eye_left, mouth - eyes
    x = eye_to_eye - _rot90(eye_to_mouth)
    if not x.any():
        raise UnusableImage("its landmarks all fall on one point")
    x /= np.hypot(*x)
    x *= max(2.0 * float(np.hypot(*eye_to_eye)), 1.8 * float(np.hypot(*eye_to_mouth)))
    y = _rot90(x)
    centre = eyes + 0.1 * eye_to_mouth
    quad = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    return quad, 2 * float(np.hypot(*x))


def _rot90(v: np.ndarray) -> np.ndarray:
    return np.array([-v[1], v[0]])


def _shrink(region: Region) -> Region:
    """Reduce a face that is far too large by an integer factor."""
    factor = int(np.floor(0.5 / region.zoom))
    if factor <= 1:
        return region
    width, height = (int(np.rint(side / factor)) for side in region.size)
    if min(width, height) < 1:
        raise UnusableImage("its landmarks describe a face much larger than the picture")
    return Region(resize(region.pixels, width, height), region.quad / factor, region.zoom * factor)


def _crop(region: Region, resolution: int) -> Region:
    """Crop the picture to the quad and a border around it."""
    border = max(int(np.rint(0.1 * resolution / region.zoom)), 3)
    low, high = region.bounds
    left, top = np.maximum(low - border, 0)
    right, bottom = np.minimum(high + border, region.size)
    if left >= right or top >= bottom:
        raise UnusableImage("its landmarks lie outside the picture")
    corner = np.array([left, top], np.float32)
    return Region(region.pixels[top:bottom, left:right], region.quad - corner, region.zoom, border)


def _upscale(region: Region) -> Region:
    """Enlarge a face that is too small by a power of two, instead of the paper's super-resolution."""
    factor = int(2 ** np.ceil(np.log2(region.zoom)))
    if factor <= 1:
        return region
    width, height = region.size
    pixels = resize(region.pixels, width * factor, height * factor)
    return replace(region, pixels=pixels, quad=region.quad * factor, zoom=region.zoom / factor)


def _pad(region: Region, resolution: int) -> Region:
    """Extend the picture where the quad reaches beyond it: mirrored, then blurred, then a single colour."""
    low, high = region.bounds
    missing = np.concatenate([-low, high - region.size]) + region.border  # left, top, right, bottom
    pads = np.maximum(missing, 0)
    if pads.max() <= region.border - 4:
        return region
    pads = np.maximum(pads, int(np.rint(0.3 * resolution / region.zoom)))
    pixels = pad_picture(region.pixels, pads, 0.02 * resolution / region.zoom)
    return replace(region, pixels=pixels, quad=region.quad + pads[:2].astype(np.float32))


def pad_picture(image: np.ndarray, pads: np.ndarray, sigma: float) -> np.ndarray:
    """Pad uint8 [H,W,3] by `pads` pixels (left, top, right, bottom, all positive), fading to its median.

    The mask is 1 at the new edge and 0 at the old one, where the full blur begins; at 1 the colour is the
    median.
    """
    left, top, right, bottom = (int(pad) for pad in pads)
    padded = np.pad(image, ((top, bottom), (left, right), (0, 0)), "reflect").astype(np.float32)
    height, width, _ = padded.shape
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    inwards_x = np.minimum(x / left, x[::-1] / right)
    inwards_y = np.minimum(y / top, y[::-1] / bottom)
    mask = (1 - np.minimum(inwards_x, inwards_y))[:, :, None]  # [H,W,1]
    _blend(padded, gaussian_blur(padded, sigma), 3 * mask + 1)
    _blend(padded, np.median(padded, axis=(0, 1)), mask)
    return np.clip(np.rint(padded, out=padded), 0, 255, out=padded).astype(np.uint8)


def _blend(image: np.ndarray, other: np.ndarray, share: np.ndarray) -> None:
    """Blend `image` with `other`, in place; `share`, clipped to 0 … 1, is the weight of `other`."""
    change = other - image
    change *= np.clip(share, 0, 1)
    image += change


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur float32 [H,W,C] by a Gaussian of `sigma` pixels, truncated at 4 sigma, mirrored at the edges."""
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    down = _convolve(image.transpose(1, 2, 0), kernel)  # [W,C,H]
    across = _convolve(down.transpose(2, 1, 0), kernel)  # [H,C,W]
    return across.transpose(0, 2, 1)


def _convolve(lines: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve float32 [N,C,L] with `kernel` [2r+1] along the last axis, mirrored at the ends."""
    from scipy.fft import next_fast_len

    length, radius = lines.shape[2], len(kernel) // 2
    period = next_fast_len(length + 2 * radius, real=True)
    spectrum = np.fft.rfft(kernel, period)
    result = np.empty(lines.shape, np.float32)
    for begin in range(0, len(lines), LINES_AT_ONCE):
        block = np.pad(lines[begin : begin + LINES_AT_ONCE], ((0, 0), (0, 0), (radius, radius)), "symmetric")
        product = np.fft.rfft(block.astype(np.float64), period)
        product *= spectrum
        blurred = np.fft.irfft(product, period)[:, :, 2 * radius : 2 * radius + length]
        result[begin : begin + LINES_AT_ONCE] = blurred
    return result
