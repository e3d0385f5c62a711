"""A painted face: the traits it is drawn from, and a small function for every part of it.

Every face is drawn in its own frame: the origin midway between the eyes, x to the picture's right, y down,
and the distance between the eyes as unit. One affine map places that frame in the picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

T = TypeVar("T")
Colour = tuple[int, int, int]
Points = NDArray[np.float64]  # (n, 2): x, y

SUPERSAMPLING = 2
LANDMARKS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")

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

SKIN_ODDS = {"pale": 0.14, "fair": 0.26, "light": 0.2, "olive": 0.13, "tan": 0.1, "brown": 0.09, "dark": 0.08}
HAIR_ODDS = {"Black": 0.17, "Brown": 0.25, "Blond": 0.36, "Gray": 0.11, "Red": 0.11}
DARKER_HAIR_ODDS = {"Black": 0.52, "Brown": 0.22, "Blond": 0.14, "Gray": 0.1, "Red": 0.02}
LADY_STYLES = {"long": 0.3, "wavy": 0.22, "bob": 0.2, "bun": 0.12, "curly": 0.08, "short": 0.08}
MAN_STYLES = {"short": 0.48, "crop": 0.2, "bald": 0.16, "curly": 0.1, "long": 0.06}
LADY_FRINGES = {"side": 0.32, "bangs": 0.3, "centre": 0.24, "back": 0.14}
MAN_FRINGES = {"side": 0.45, "back": 0.4, "bangs": 0.15}
BEARDS = {"none": 0.5, "full": 0.26, "stubble": 0.12, "goatee": 0.12}
HATS = {"none": 0.7, "beanie": 0.1, "cap": 0.1, "fedora": 0.1}
GLASSES = {"none": 0.67, "round": 0.11, "square": 0.11, "sun": 0.11}
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


def _between(low: float, high: float) -> dict[str, Any]:
    """Of a trait that is drawn evenly from `low` to `high`."""
    return {"draw": lambda rng: rng.uniform(low, high)}


def _one_of(options: Sequence[Any]) -> dict[str, Any]:
    """Of a trait that is one of `options`, each as likely as the others."""
    return {"draw": lambda rng: pick(rng, options)}


@dataclass(frozen=True)
class Face:
    """All that tells one person from another, drawn once. Lengths are in distances between the eyes."""

    complexion: str  # a key of SKINS
    skin: Colour
    hair_name: str  # a key of HAIRS
    hair: Colour
    style: str  # bald, crop, short, bun, curly, bob, long or wavy
    fringe: str  # back, side, centre or bangs
    volume: float  # of the hair above the skull
    jaw: float  # half of the head's width, at the mouth
    brow: float  # thickness
    smile: float  # how far the corners of the mouth rise above its middle
    gape: float  # how far the mouth opens, 0 when closed
    lips: Colour
    lipstick: bool
    blush: bool
    beard: str  # none, stubble, goatee or full
    moustache: bool
    earrings: bool
    hat: str  # none, beanie, cap or fedora
    glasses: str  # none, round, square or sun
    hat_colour: Colour = field(metadata=_one_of(FABRICS))
    frame: Colour = field(metadata=_one_of(FRAMES))
    collar: str = field(metadata=_one_of(("round", "vee", "shirt", "suit")))
    clothes: Colour = field(metadata=_one_of(FABRICS))
    iris: Colour = field(metadata=_one_of(IRISES))
    light_side: int = field(metadata=_one_of((-1, 1)))  # the light comes from the picture's left or right
    part_side: int = field(metadata=_one_of((-1, 1)))  # of a side parting
    light: float = field(metadata=_between(0, 1))  # how strongly it falls from the side
    turn: float = field(metadata=_between(-1, 1))  # of the head, to the picture's left or right
    width: float = field(metadata=_between(1.06, 1.18))  # half of the head's, at the eyes
    chin: float = field(metadata=_between(1.72, 1.92))  # y
    lid: float = field(metadata=_between(0.085, 0.125))  # how far the eyes open
    gaze: float = field(metadata=_between(-0.06, 0.06))  # x of the pupils from the eyes' centres
    brow_lift: float = field(metadata=_between(-0.02, 0.06))
    nose_y: float = field(metadata=_between(0.58, 0.7))
    nose_width: float = field(metadata=_between(0.15, 0.22))
    mouth_y: float = field(metadata=_between(1.06, 1.14))
    mouth_width: float = field(metadata=_between(0.37, 0.47))  # half of it

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Face":
        """A random person; what goes together (beards and short hair, lipstick and long) mostly does."""
        lady = bool(rng.random() < 0.5)
        complexion, hat = weigh(rng, SKIN_ODDS), weigh(rng, HATS)
        hair_name = weigh(rng, DARKER_HAIR_ODDS if complexion in ("tan", "brown", "dark") else HAIR_ODDS)
        style = weigh(rng, LADY_STYLES if lady else MAN_STYLES)
        fringe = weigh(rng, LADY_FRINGES if lady else MAN_FRINGES)
        if hat != "none" and style in ("bald", "bun", "curly"):
            style = "short"
        if hat != "none" or style in ("crop", "bun", "curly", "bald"):
            fringe = "back"
        skin = vary(rng, SKINS[complexion], 5)
        lipstick = lady and bool(rng.random() < 0.6)
        beard = "none" if lady else weigh(rng, BEARDS)
        drawn = {trait.name: trait.metadata["draw"](rng) for trait in fields(cls) if trait.metadata}
        return cls(
            **drawn,
            complexion=complexion,
            skin=skin,
            hair_name=hair_name,
            hair=vary(rng, HAIRS[hair_name], 9),
            style=style,
            fringe=fringe,
            volume=rng.uniform(0.04, 0.1) if style == "crop" else rng.uniform(0.14, 0.3),
            jaw=rng.uniform(0.7, 0.82) if lady else rng.uniform(0.78, 0.92),
            brow=rng.uniform(0.05, 0.08) if lady else rng.uniform(0.08, 0.12),
            smile=rng.uniform(0.16, 0.24) if rng.random() < 0.5 else rng.uniform(0, 0.05),
            gape=rng.uniform(0.14, 0.26) if rng.random() < 0.4 else 0.0,
            lips=pick(rng, LIPSTICKS) if lipstick else mix(skin, (164, 62, 62), 0.5),
            lipstick=lipstick,
            blush=lady and bool(rng.random() < 0.4),
            beard=beard,
            moustache=beard in ("goatee", "full") or (not lady and bool(rng.random() < 0.15)),
            earrings=lady and style in ("bun", "short") and bool(rng.random() < 0.7),
            hat=hat,
            glasses=weigh(rng, GLASSES),
        )

    @property
    def head_x(self) -> float:
        """Where the middle of the head lies when a turn has moved the eyes off it."""
        return -0.16 * self.turn

    def landmarks(self) -> Points:
        """(5, 2) in the face's frame, in the order of LANDMARKS."""
        x, corner = 0.06 * self.turn, self.mouth_y - 0.6 * self.smile
        mouth = [(x - self.mouth_width, corner), (x + self.mouth_width, corner)]
        return np.array([(-0.5, 0), (0.5, 0), (0.12 * self.turn, self.nose_y), *mouth])

    def attributes(self) -> dict[str, bool]:
        """What CelebA would say of the picture, by CelebA's names and in its order."""
        haired = self.style != "bald"
        return {
            "Bald": not haired,
            "Bangs": haired and self.fringe == "bangs",
            "Black_Hair": haired and self.hair_name == "Black",
            "Blond_Hair": haired and self.hair_name == "Blond",
            "Brown_Hair": haired and self.hair_name == "Brown",
            "Eyeglasses": self.glasses != "none",
            "Goatee": self.beard == "goatee",
            "Gray_Hair": haired and self.hair_name == "Gray",
            "Mouth_Slightly_Open": self.gape > 0,
            "Mustache": self.moustache,
            "No_Beard": self.beard == "none",
            "Pale_Skin": self.complexion == "pale",
            "Rosy_Cheeks": self.blush,
            "Smiling": self.smile > 0.1,
            "Wavy_Hair": self.style in ("wavy", "curly"),
            "Wearing_Earrings": self.earrings,
            "Wearing_Hat": self.hat != "none",
            "Wearing_Lipstick": self.lipstick,
        }


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def weigh(rng: np.random.Generator, odds: dict[str, float]) -> str:
    return str(rng.choice(list(odds), p=list(odds.values())))


def vary(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    shift = rng.normal(0, spread) + rng.normal(0, spread / 5, 3)
    red, green, blue = np.clip(np.add(colour, shift), 0, 255).astype(int).tolist()
    return red, green, blue


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _shadow(colour: Colour) -> Colour:
    """The colour in a warm shade."""
    red, green, blue = colour
    return round(red * 0.7), round(green * 0.6), round(blue * 0.58)


# Outlines, in the face's frame

ANGLE = np.linspace(0, 2 * math.pi, 40, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1)  # (40, 2)
ACROSS = np.linspace(-1, 1, 17)
STEP = np.linspace(0, 1, 6, endpoint=False)[:, None]
BASIS = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
CATMULL_ROM = STEP ** np.arange(4) @ BASIS  # (6 steps, 4 knots)


def curve(knots: Sequence[tuple[float, float]] | Points, closed: bool = False) -> Points:
    """A Catmull-Rom spline through `knots`, six steps from each to the next."""
    knots = np.asarray(knots, dtype=float)
    before, after = (knots[-1:], knots[:2]) if closed else (knots[:1], knots[-1:])
    around = np.concatenate([before, knots, after])
    windows = np.stack([around[:-3], around[1:-2], around[2:-1], around[3:]], axis=1)  # (segments, 4, 2)
    path = (CATMULL_ROM @ windows).reshape(-1, 2)
    return path if closed else np.concatenate([path, knots[-1:]])


def mirrored(*right_half: tuple[float, float]) -> Points:
    """Knots of a symmetric outline: its right half, then that half's mirror image backwards."""
    return np.array([*right_half, *((-x, y) for x, y in reversed(right_half) if x > 0)])


def oval(x: float, y: float, rx: float, ry: float) -> Points:
    return CIRCLE * (rx, ry) + (x, y)


def arch(half_width: float, ends: float, middle: float) -> Points:
    """A parabola from (-half_width, ends) over (0, middle) to (half_width, ends)."""
    return np.stack([ACROSS * half_width, middle + (ends - middle) * ACROSS**2], axis=1)


def between(line: Points, other: Points) -> Points:
    """The outline of what lies between two lines that run the same way."""
    return np.concatenate([line, other[::-1]])


def ribbon(path: Points, start: float, end: float) -> Points:
    """The outline of a brush stroke along `path` whose width goes from `start` to `end`."""
    steps = np.diff(path, axis=0, append=2 * path[-1:] - path[-2:-1])
    normal = steps[:, ::-1] * (-1, 1) / np.hypot(steps[:, 0], steps[:, 1])[:, None]
    reach = normal * np.linspace(start / 2, end / 2, len(path))[:, None]
    return between(path + reach, path - reach)


class Easel:
    """A supersampled picture, and the map from the face's frame to it."""

    def __init__(self, image: Image.Image, matrix: NDArray[np.float64]):
        self.image, self.matrix = image, matrix  # matrix: (2, 3), to pixels
        self.pen = ImageDraw.Draw(image)
        self.unit = math.sqrt(abs(np.linalg.det(matrix[:, :2])))  # pixels between the eyes

    def moved(self, x: float, y: float = 0.0) -> "Easel":
        """The same picture, painted with the frame's origin at (x, y)."""
        moved = self.matrix.copy()
        moved[:, 2] += self.matrix[:, :2] @ (x, y)
        return Easel(self.image, moved)

    def place(self, points: Points) -> Points:
        return points @ self.matrix[:, :2].T + self.matrix[:, 2] - 0.5  # Pillow's pixel 0 is centred on 0

    def fill(self, outline: Points, colour: Colour) -> None:
        self.pen.polygon(self.place(outline).ravel().tolist(), fill=colour)

    def glow(
        self, outline: Points, colour: Colour, soft: float, opacity: float, inside: Points | None = None
    ) -> None:
        """Fill `outline` with an edge blurred by `soft`, and only where it is `inside` another outline."""
        shape, reach = self.place(outline), soft * self.unit
        low, high = shape.min(axis=0) - reach, shape.max(axis=0) + reach
        if inside is not None:
            window = self.place(inside)
            low, high = np.maximum(low, window.min(axis=0)), np.minimum(high, window.max(axis=0))
        corner = np.maximum(low, 0) // SUPERSAMPLING  # masks are soft: the final resolution is enough
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


# The parts of a portrait, in the order they are painted


def paint_clothes(easel: Easel, face: Face) -> None:
    half = ((0, 1.8), (0.6, 1.95), (1.2, 2.25), (1.95, 2.6), (2.4, 3.6), (2.6, 7), (2.6, 12), (0, 12))
    easel.fill(curve(mirrored(*half), closed=True), face.clothes)
    if face.collar == "suit":
        tie = np.array([(-0.14, 2.3), (0.14, 2.3), (0.2, 3.9), (0, 4.3), (-0.2, 3.9)])
        easel.fill(np.array([(-0.75, 1.9), (0.75, 1.9), (0.0, 4.4)]), WHITE)
        easel.fill(tie, mix(face.clothes, (180, 40, 50), 0.6))


def paint_neck(easel: Easel, face: Face) -> None:
    bottom = {"round": 2.5, "vee": 3.1, "shirt": 2.6, "suit": 2.3}[face.collar]
    neck = curve(mirrored((0, 0.9), (0.58, 1.0), (0.56, 1.7), (0.74, 2.1), (0, bottom)), closed=True)
    easel.fill(neck, mix(face.skin, _shadow(face.skin), 0.25))
    easel.glow(oval(face.head_x, 1.65, 0.8, 0.4), _shadow(face.skin), 0.12, 0.75, inside=neck)
    if face.collar in ("shirt", "suit"):
        cloth = WHITE if face.collar == "suit" else mix(face.clothes, WHITE, 0.25)
        for side in (-1, 1):
            easel.fill(np.array([(0.62, 1.75), (0.9, 2.05), (0.6, 2.75), (0.08, 2.45)]) * (side, 1), cloth)


def paint_back_hair(easel: Easel, face: Face) -> None:
    """What hangs behind the face or stands around it."""
    dark, top = mix(face.hair, _shadow(face.hair), 0.5), -1.5 - face.volume
    crown = ((0, top), (0.8, top + 0.2), (1.36, -0.7), (1.43, 0.35))
    if face.style == "bob":
        easel.fill(curve(mirrored(*crown, (1.4, 1.3), (0.9, 1.5), (0, 1.4)), closed=True), dark)
    elif face.style in ("long", "wavy"):
        ends = ((1.48, 1.5), (1.42, 2.7), (0.85, 2.9), (0.6, 2.2), (0, 2))
        fall = curve(mirrored(*crown, *ends), closed=True)
        if face.style == "wavy":
            fall[:, 0] *= 1.08 + 0.07 * np.sin(5 * fall[:, 1])
        easel.fill(fall, dark)
    elif face.style == "bun":
        easel.fill(oval(0, top - 0.12, 0.5, 0.42), dark)
    elif face.style == "curly":
        for x, y in CIRCLE[[18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 0, 2]]:
            easel.fill(oval(1.14 * x, -0.5 + (0.8 + face.volume) * y, 0.42, 0.42), dark)


def paint_head(easel: Easel, face: Face) -> None:
    shade, bright, side = _shadow(face.skin), mix(face.skin, WHITE, 0.3), face.light_side
    for ear in (-1, 1):
        easel.fill(oval(ear * (face.width + 0.02), 0.25, 0.17, 0.33), mix(face.skin, shade, 0.3))
        if face.earrings:
            easel.fill(oval(ear * (face.width + 0.06), 0.68, 0.09, 0.12), GOLD)
    head = head_outline(face)
    easel.fill(head, face.skin)
    easel.glow(oval(-1.3 * side, 0.4, 0.62, 2.2), shade, 0.3, 0.35 + 0.4 * face.light, inside=head)
    easel.glow(oval(1.45 * side, 0.6, 0.4, 2.2), shade, 0.2, 0.35, inside=head)
    easel.glow(oval(0, face.chin + 0.15, 0.9, 0.25), shade, 0.14, 0.45, inside=head)
    easel.glow(oval(0.3 * side, -0.75, 0.55, 0.3), bright, 0.25, 0.6)
    for cheek in (-0.68, 0.68):
        easel.glow(oval(cheek + 0.06 * side, 0.5, 0.18, 0.16), bright, 0.12, 0.45)
        if face.blush:
            easel.glow(oval(cheek * 0.95, 0.62, 0.22, 0.18), BLUSH, 0.14, 0.5)


def head_outline(face: Face) -> Points:
    width, jaw, chin = face.width, face.jaw, face.chin
    skull = ((0, -1.5), (0.62, -1.36), (width * 0.95, -0.75), (width, 0), (width * 0.94, 0.6))
    return curve(mirrored(*skull, (jaw, 1.2), (jaw * 0.55, chin - 0.14), (0, chin)), closed=True)


def paint_beard(easel: Easel, face: Face) -> None:
    colour, jaw, chin = mix(face.hair, _shadow(face.hair), 0.4), face.jaw, face.chin
    if face.beard in ("stubble", "full"):
        upper = ((0, 0.92), (0.45, 0.9), (0.75, 0.72), (face.width * 0.96, 0.35))
        beard = curve(mirrored(*upper, (jaw * 1.02, 1.2), (jaw * 0.6, chin), (0, chin + 0.1)), closed=True)
        easel.glow(beard, colour, 0.04, 0.92 if face.beard == "full" else 0.3)
    elif face.beard == "goatee":
        easel.glow(oval(0, chin - 0.42, 0.48, 0.5), colour, 0.04, 0.95)


def paint_eyes(easel: Easel, face: Face) -> None:
    upper, lower = arch(0.25, 0, -1.25 * face.lid), arch(0.25, 0, 0.85 * face.lid)
    lift = -0.36 - face.brow_lift
    arc = curve([(-0.27, lift), (-0.08, lift - 0.05), (0.12, lift - 0.06), (0.33, lift + 0.04)])
    brow = ribbon(arc, face.brow, face.brow * 0.4)
    iris, pupil = (oval(face.gaze, -0.01, radius, radius) for radius in (0.13, 0.065))
    for disc in (iris, pupil):  # the lids cover what rises above them
        lids = face.lid * (1 - (disc[:, 0] / 0.25) ** 2)
        disc[:, 1] = np.clip(disc[:, 1], -1.25 * lids, 0.85 * lids)
    for side in (-1, 1):
        eye = easel.moved(0.5 * side)
        eye.glow(oval(0, -0.06, 0.32, 0.2), _shadow(face.skin), 0.08, 0.55)
        eye.fill(between(upper, lower), EYE_WHITE)
        eye.fill(iris, face.iris)
        eye.fill(pupil, BLACK)
        eye.fill(ribbon(upper, 0.055, 0.055), LASHES)
        eye.fill(oval(face.gaze + 0.05 * face.light_side, -0.05, 0.03, 0.03), WHITE)
        eye.fill(brow * (side, 1), mix(face.hair, LASHES, 0.6))


def paint_nose(easel: Easel, face: Face) -> None:
    side, shade = face.light_side, _shadow(face.skin)
    x, y, width = 0.12 * face.turn, face.nose_y, face.nose_width
    flank = curve([(-0.12 * side, -0.1), (-0.12 * side, 0.2), (x - side * width, y)])
    easel.glow(ribbon(flank, 0.06, 0.16), shade, 0.05, 0.55)
    easel.glow(oval(x, y + 0.1, width * 1.1, 0.06), shade, 0.035, 0.8)
    ridge = curve([(0, -0.1), (x * 0.6, y * 0.5), (x, y - 0.06)])
    easel.glow(ribbon(ridge, 0.06, 0.13), mix(face.skin, WHITE, 0.55), 0.04, 0.7)
    for nostril in (-0.55, 0.55):
        easel.fill(oval(x + nostril * width, y + 0.09, 0.045, 0.025), mix(shade, BLACK, 0.35))


def paint_mouth(easel: Easel, face: Face) -> None:
    """Between the corners that `Face.landmarks` names; the origin is the middle of the mouth."""
    corner, middle, width = -0.6 * face.smile, 0.4 * face.smile, face.mouth_width
    roof, floor = middle - 0.1 * face.gape, middle + 0.9 * face.gape
    easel.glow(oval(0, floor + 0.24, width * 0.5, 0.05), _shadow(face.skin), 0.05, 0.6)
    if face.moustache:  # wider than the mouth, and thick to its ends
        top, bottom = arch(width * 1.3, corner + 0.1, roof - 0.28), arch(width * 1.3, corner + 0.22, roof)
        easel.glow(between(top, bottom), mix(face.hair, _shadow(face.hair), 0.5), 0.025, 1)
    easel.fill(between(arch(width, corner, roof - 0.11), arch(width, corner, floor + 0.15)), face.lips)
    easel.glow(oval(0, floor + 0.08, width * 0.45, 0.03), mix(face.lips, WHITE, 0.5), 0.03, 0.6)
    if face.gape:
        bite = arch(width * 0.78, corner + 0.04, roof + 0.3 * face.gape + 0.03)
        easel.fill(between(arch(width * 0.9, corner, roof), arch(width * 0.9, corner, floor)), THROAT)
        easel.fill(between(arch(width * 0.78, corner + 0.02, roof), bite), TEETH)
    else:
        easel.fill(ribbon(arch(width, corner, middle), 0.035, 0.035), mix(face.lips, BLACK, 0.55))


def paint_front_hair(easel: Easel, face: Face) -> None:
    """The hair from the crown to the hairline and down to the temples."""
    if face.style == "bald":
        return easel.glow(oval(0.3 * face.light_side, -1.1, 0.34, 0.14), WHITE, 0.1, 0.5)
    top, width, dark = -1.5 - face.volume, face.width, mix(face.hair, _shadow(face.hair), 0.6)
    end = {"crop": 0.0, "short": 0.15, "bun": 0.0, "curly": 0.1}.get(face.style, 1.2)  # y
    half = ((width + 0.1, end), (width + 0.16, -0.5), (width, -1.1), (0.62, top + 0.12), (0, top))
    outer, inner = curve(mirrored(*half)), curve(hairline(face, end))
    cast = between(outer, inner + np.array((0, 0.1)))
    easel.glow(cast, _shadow(face.skin), 0.05, 0.5, inside=head_outline(face))
    easel.fill(between(outer, inner), face.hair)
    steps = np.linspace(0.14, 0.86, 24)
    low, high = (line[(steps * (len(line) - 1)).astype(int)] for line in (inner, outer))
    if face.style == "curly":
        for i, (x, y) in enumerate((0.45 * low + 0.55 * high)[1::2]):
            easel.fill(oval(x, y, 0.2, 0.2), mix(face.hair, dark, 0.5 * (i % 2)))
        return None
    for share in (0.3, 0.75):
        easel.fill(ribbon(low + (high - low) * share, 0.03, 0.03), dark)
    shine = (low + high)[5:-5] / 2
    return easel.glow(ribbon(shine, 0.2, 0.2), mix(face.hair, WHITE, 0.3), 0.12, 0.8)


def hairline(face: Face, end: float) -> Points:
    """Knots from the right temple over the forehead to the left; the hair ends at y = `end`."""
    width = face.width
    temple = ((width * (0.94 if end < 0.5 else 0.98), end), (width * 0.94, -0.3))
    if face.fringe == "side":
        swept = ((width * 0.8, -0.56), (0.3, -0.86), (-0.45, -1.2), (-width * 0.82, -0.75))
        knots = np.array([*temple, *swept, *((-x, y) for x, y in reversed(temple))])
        return knots if face.part_side < 0 else (knots * (-1, 1))[::-1]
    forehead = {
        "back": ((width * 0.84, -0.74), (0.45, -1.0), (0, -1.04)),
        "centre": ((width * 0.82, -0.6), (0.45, -0.98), (0, -1.32)),
        "bangs": ((width * 0.84, -0.46), (0.45, -0.52), (0, -0.54)),
    }[face.fringe]
    return mirrored(*temple, *forehead)


def paint_glasses(easel: Easel, face: Face) -> None:
    if face.glasses == "none":
        return
    height, squareness = (0.34, 1) if face.glasses == "round" else (0.3, 0.6)
    shape = np.sign(CIRCLE) * np.abs(CIRCLE) ** squareness * (0.4, height)
    for side in (-1, 1):
        lens = shape + np.array((0.5 * side, 0.04))
        if face.glasses == "sun":
            easel.fill(lens, SUNGLASS)
        easel.glow(oval(0.5 * side - 0.12, -0.1, 0.15, 0.08), WHITE, 0.05, 0.35, inside=lens)
        temple = np.array([(0.88 * side, -0.04), (face.head_x + side * face.width, -0.1)])
        easel.fill(ribbon(np.concatenate([lens, lens[:1]]), 0.085, 0.085), face.frame)
        easel.fill(ribbon(temple, 0.07, 0.07), face.frame)
    easel.fill(ribbon(arch(0.12, 0.02, -0.04), 0.07, 0.07), face.frame)


def paint_hat(easel: Easel, face: Face) -> None:
    if face.hat == "none":
        return
    colour, dark, wide = face.hat_colour, mix(face.hat_colour, BLACK, 0.35), face.width + 0.18
    easel.glow(oval(0, -0.45, wide, 0.2), _shadow(face.skin), 0.08, 0.7, inside=head_outline(face))
    crown = ((0, -1.98), (0.7, -1.82), (1.14, -1.3), (wide, -0.55), (0, -0.7))
    if face.hat == "fedora":
        crown = ((0, -1.72), (0.45, -1.95), (0.9, -1.75), (1.1, -0.85), (0, -0.7))
    dome = curve(mirrored(*crown), closed=True)
    easel.fill(dome, colour)
    easel.glow(oval(0.4 * face.light_side, -1.5, 0.4, 0.3), mix(colour, WHITE, 0.35), 0.2, 0.6, inside=dome)
    easel.glow(oval(-face.light_side, -1.2, 0.3, 0.9), dark, 0.2, 0.7, inside=dome)
    if face.hat == "fedora":
        easel.fill(oval(0, -0.8, 1.85, 0.24), mix(colour, BLACK, 0.12))
        easel.fill(between(arch(1.08, -1.12, -1.02), arch(1.12, -0.86, -0.72)), dark)
    elif face.hat == "cap":
        easel.fill(oval(0, -1.25, 0.26, 0.22), mix(colour, WHITE, 0.7))
        easel.fill(between(arch(wide, -0.6, -0.86), arch(wide, -0.5, -0.32)), dark)
    else:
        easel.fill(between(arch(wide + 0.04, -0.86, -1.0), arch(wide + 0.04, -0.46, -0.6)), dark)


def paint_face(easel: Easel, face: Face) -> None:
    head = easel.moved(face.head_x)
    paint_clothes(easel, face)
    paint_back_hair(head, face)
    paint_neck(easel, face)
    paint_head(head, face)
    paint_beard(head, face)
    paint_eyes(easel, face)
    paint_nose(easel, face)
    paint_mouth(easel.moved(0.06 * face.turn, face.mouth_y), face)
    paint_front_hair(head, face)
    paint_glasses(easel, face)
    paint_hat(head, face)
