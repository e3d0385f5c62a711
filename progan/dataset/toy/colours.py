"""The colours of painted faces, and functions that derive one colour from another."""

from collections.abc import Sequence

import numpy as np

Colour = tuple[int, int, int]  # red, green, blue

# fmt: off
SKINS: dict[str, Colour] = {
    "pale": (252, 222, 204), "fair": (242, 204, 178), "light": (231, 184, 148), "olive": (212, 165, 124),
    "tan": (188, 134, 94), "brown": (150, 99, 67), "dark": (112, 72, 50),
}
HAIRS: dict[str, Colour] = {
    "Black": (30, 25, 27), "Brown": (92, 58, 36), "Blond": (226, 188, 108), "Gray": (170, 169, 168),
    "Red": (158, 70, 32),
}
IRISES: Sequence[Colour] = ((66, 40, 24), (48, 30, 22), (70, 96, 60), (58, 94, 134), (84, 92, 98))
LIPSTICKS: Sequence[Colour] = ((196, 28, 46), (168, 24, 60), (212, 56, 92), (140, 28, 44))
FRAMES: Sequence[Colour] = ((24, 22, 26), (70, 40, 26), (130, 24, 34), (34, 48, 92))
FABRICS: Sequence[Colour] = (
    (44, 50, 66), (236, 232, 224), (150, 42, 48), (38, 92, 128), (70, 108, 74), (214, 168, 62),
    (120, 82, 128), (98, 98, 104), (206, 120, 108), (40, 38, 42),
)
BACKDROPS: Sequence[Colour] = (
    (204, 208, 210), (150, 172, 190), (108, 134, 156), (186, 178, 160), (128, 146, 120), (92, 104, 96),
    (160, 132, 116), (200, 176, 168), (120, 112, 134), (76, 88, 108), (172, 190, 176), (226, 218, 202),
)
# fmt: on
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
GOLD: Colour = (232, 190, 84)
BLUSH: Colour = (232, 84, 92)
LASHES: Colour = (34, 22, 20)
EYE_WHITE: Colour = (246, 244, 240)
TEETH: Colour = (250, 248, 242)
THROAT: Colour = (92, 24, 30)
SUNGLASS: Colour = (26, 26, 32)


def vary(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    """A random colour near `colour`; `spread` is the standard deviation of its brightness."""
    shift = rng.normal(0, spread) + rng.normal(0, spread / 5, 3)
    red, green, blue = np.clip(np.add(colour, shift), 0, 255).astype(int).tolist()
    return red, green, blue


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """A blend of two colours; `share`, 0 … 1, is that of `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def shadow(colour: Colour) -> Colour:
    """A darker, warmer shade of the colour."""
    red, green, blue = colour
    return round(red * 0.7), round(green * 0.6), round(blue * 0.58)
