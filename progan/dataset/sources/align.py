"""CelebA-HQ's alignment: a face, found by five landmarks, turned upright and cut out as a square.

The steps and constants are those of the paper's appendix C and its dataset tool, with the result's
1024 px generalised to any resolution R. At 1024 px nothing differs but one case: the reference also
pads, needlessly, around faces so small that its border is under 4 px.
"""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from progan.dataset.sources.source import Picture, UnusableImage


@dataclass(frozen=True)
class Region:
    """A picture and the quadrilateral to cut out of it.

    quad: float64 [4,2], x and y of the top left, bottom left, bottom right and top right corner;
    zoom: output pixels per picture pixel; border: picture pixels kept around the quad, where there are any.
    """

    image: Image.Image
    quad: np.ndarray
    zoom: float
    border: int = 0


def align_face(image: Image.Image, landmarks: np.ndarray, resolution: int) -> Picture:
    """Cut out the face: uint8 [R,R,3].

    image: mode RGB; landmarks: [5,2], x and y in pixels of the eyes (left one in the picture first),
    the nose and the corners of the mouth. Raises UnusableImage when they describe no face inside it.
    """
    quad = face_quad(landmarks)
    side = float(np.hypot(*(quad[3] - quad[0])))
    if not side > 0:
        raise UnusableImage("its landmarks all fall on one point")
    region = Region(image, quad, resolution / side)
    enlarged = region.zoom > 1
    region = _pad(_upscale(_crop(_shrink(region), resolution)), resolution)
    return Picture(_cut_out(region, resolution), enlarged)


def face_quad(landmarks: np.ndarray) -> np.ndarray:
    """The square around a face, as in `Region`; its size follows the eyes' and the mouth's distances."""
    eye_left, eye_right, _, mouth_left, mouth_right = np.asarray(landmarks, np.float64)
    eyes = (eye_left + eye_right) / 2 + 0.5
    mouth = (mouth_left + mouth_right) / 2 + 0.5
    eye_to_eye, eye_to_mouth = eye_right - eye_left, mouth - eyes
    x = eye_to_eye - _rot90(eye_to_mouth)
    length = np.hypot(*x)
    if length == 0:
        return np.tile(eyes, (4, 1))
    x *= max(2.0 * np.hypot(*eye_to_eye), 1.8 * np.hypot(*eye_to_mouth)) / length
    y = _rot90(x)
    centre = eyes + 0.1 * eye_to_mouth
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def _rot90(v: np.ndarray) -> np.ndarray:
    return np.array([-v[1], v[0]])


def _shrink(region: Region) -> Region:
    """Make a face that is far too large smaller, by a whole factor."""
    factor = int(np.floor(0.5 / region.zoom))
    if factor <= 1:
        return region
    size = [int(np.rint(side / factor)) for side in region.image.size]
    if min(size) < 1:
        raise UnusableImage("its landmarks describe a face much larger than the picture")
    image = region.image.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    return Region(image, region.quad / factor, region.zoom * factor)


def _crop(region: Region, resolution: int) -> Region:
    """Keep what lies around the quad."""
    border = max(int(np.rint(0.1 * resolution / region.zoom)), 3)
    low, high = np.floor(region.quad.min(0)), np.ceil(region.quad.max(0))
    left, top = (int(v) for v in np.maximum(low - border, 0))
    right, bottom = (int(v) for v in np.minimum(high + border, region.image.size))
    if left >= right or top >= bottom:
        raise UnusableImage("its landmarks lie outside the picture")
    image = region.image.crop((left, top, right, bottom))
    return Region(image, region.quad - (left, top), region.zoom, border)


def _upscale(region: Region) -> Region:
    """Enlarge a face that is too small by a power of two, in place of the paper's super-resolution."""
    factor = int(2 ** np.ceil(np.log2(region.zoom)))
    if factor <= 1:
        return region
    width, height = region.image.size
    image = region.image.resize((width * factor, height * factor), Image.Resampling.LANCZOS)
    return replace(region, image=image, quad=region.quad * factor, zoom=region.zoom / factor)


def _pad(region: Region, resolution: int) -> Region:
    """Continue the picture where the quad reaches beyond it: mirrored, then blurred, then one colour."""
    low, high = np.floor(region.quad.min(0)), np.ceil(region.quad.max(0))
    missing = np.concatenate([-low, high - region.image.size]) + region.border  # left, top, right, bottom
    pads = np.maximum(missing, 0).astype(int)
    if pads.max() <= max(region.border - 4, 0):
        return region
    pads = np.maximum(pads, int(np.rint(0.3 * resolution / region.zoom)))
    image = pad_picture(np.asarray(region.image), pads, 0.02 * resolution / region.zoom)
    return replace(region, image=Image.fromarray(image), quad=region.quad + pads[:2])


def pad_picture(image: np.ndarray, pads: np.ndarray, sigma: float) -> np.ndarray:
    """uint8 [H,W,3] with `pads` (left, top, right, bottom, all positive) pixels more, fading to its median.

    The mask is 1 at the new edge and 0 at the old: blurred fully from 0 on, the median's colour at 1.
    """
    left, top, right, bottom = (int(pad) for pad in pads)
    padded = np.pad(image.astype(np.float32), ((top, bottom), (left, right), (0, 0)), "reflect")
    height, width, _ = padded.shape
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    inwards_x = np.minimum(x / left, x[::-1] / right)
    inwards_y = np.minimum(y / top, y[::-1] / bottom)
    mask = (1 - np.minimum(inwards_x, inwards_y))[:, :, None]  # [H,W,1]
    padded += (gaussian_blur(padded, sigma) - padded) * np.clip(3 * mask + 1, 0, 1)
    padded += (np.median(padded, axis=(0, 1)) - padded) * np.clip(mask, 0, 1)
    return np.clip(np.rint(padded), 0, 255).astype(np.uint8)


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """float32 [H,W,C] blurred by a Gaussian of `sigma` pixels, cut off at 4 sigma, mirrored at the edges."""
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    planes = image.T  # [C,W,H], then [C,H,W]: the last axis is blurred
    for _ in ("down", "across"):
        mirrored = np.pad(planes.astype(np.float64), ((0, 0), (0, 0), (radius, radius)), "symmetric")
        planes = _convolve(mirrored, kernel).astype(np.float32).swapaxes(1, 2)
    return np.ascontiguousarray(planes.T)


def _convolve(planes: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """float64 [C,H,W] * `kernel` [K] along the last axis, where it fits: [C,H,W-K+1]."""
    width = planes.shape[-1]
    if len(kernel) < 25:  # few enough to beat the FFT
        return np.lib.stride_tricks.sliding_window_view(planes, len(kernel), axis=2) @ kernel
    length = 1 << (width - 1).bit_length()
    spectrum = np.fft.rfft(planes, length) * np.fft.rfft(kernel, length)
    return np.fft.irfft(spectrum, length)[:, :, len(kernel) - 1 : width]


def _cut_out(region: Region, resolution: int) -> np.ndarray:
    """Sample the quad at four times the resolution and reduce: uint8 [R,R,3]."""
    fine = (4 * resolution, 4 * resolution)
    corners = tuple((region.quad + 0.5).ravel())
    image = region.image.transform(fine, Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    return np.asarray(image.resize((resolution, resolution), Image.Resampling.LANCZOS))
