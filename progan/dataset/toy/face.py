"""The traits of a face to paint, drawn at random.

Every face has its own frame: the origin is midway between the eyes, x points to the picture's right, y down,
and the unit is the distance between the eyes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np

from progan.dataset.toy.colours import FABRICS, FRAMES, HAIRS, IRISES, LIPSTICKS, SKINS, Colour, mix, vary
from progan.dataset.toy.easel import Points

T = TypeVar("T")

LANDMARKS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")

# fmt: off
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


def _between(low: float, high: float) -> dict[str, Any]:
    """Metadata of a trait that is drawn uniformly from `low` to `high`."""
    return {"draw": lambda rng: rng.uniform(low, high)}


def _one_of(options: Sequence[Any]) -> dict[str, Any]:
    """Metadata of a trait that is drawn from `options` with equal probability."""
    return {"draw": lambda rng: pick(rng, options)}


@dataclass(frozen=True)
class Face:
    """The traits of one person. Lengths are in units of the distance between the eyes."""

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
    light: float = field(metadata=_between(0, 1))  # strength of the light from the side
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
        """A random person, with the usual correlations of traits (such as beards and short hair)."""
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
        """x of the middle of the head, which a turn moves away from the middle of the eyes."""
        return -0.16 * self.turn

    def landmarks(self) -> Points:
        """float64 [5, 2] in the face's frame, in the order of LANDMARKS."""
        x, corner = 0.06 * self.turn, self.mouth_y - 0.6 * self.smile
        mouth = [(x - self.mouth_width, corner), (x + self.mouth_width, corner)]
        return np.array([(-0.5, 0), (0.5, 0), (0.12 * self.turn, self.nose_y), *mouth])

    def attributes(self) -> dict[str, bool]:
        """The face's attributes, under CelebA's names and in CelebA's order."""
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
    """One of the keys of `odds`, with the probabilities that are its values."""
    return str(rng.choice(list(odds), p=list(odds.values())))
