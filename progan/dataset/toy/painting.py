"""Paint a face: one function per part, in the order of painting."""

import numpy as np

from progan.dataset.toy.colours import (
    BLACK,
    BLUSH,
    EYE_WHITE,
    GOLD,
    LASHES,
    SUNGLASS,
    TEETH,
    THROAT,
    WHITE,
    mix,
    shadow,
)
from progan.dataset.toy.easel import CIRCLE, Easel, Points, arch, between, curve, mirrored, oval, ribbon
from progan.dataset.toy.face import Face


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
    easel.fill(neck, mix(face.skin, shadow(face.skin), 0.25))
    easel.glow(oval(face.head_x, 1.65, 0.8, 0.4), shadow(face.skin), 0.12, 0.75, inside=neck)
    if face.collar in ("shirt", "suit"):
        cloth = WHITE if face.collar == "suit" else mix(face.clothes, WHITE, 0.25)
        for side in (-1, 1):
            easel.fill(np.array([(0.62, 1.75), (0.9, 2.05), (0.6, 2.75), (0.08, 2.45)]) * (side, 1), cloth)


def paint_back_hair(easel: Easel, face: Face) -> None:
    """The hair behind and around the face."""
    dark, top = mix(face.hair, shadow(face.hair), 0.5), -1.5 - face.volume
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
    shade, bright, side = shadow(face.skin), mix(face.skin, WHITE, 0.3), face.light_side
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
    colour, jaw, chin = mix(face.hair, shadow(face.hair), 0.4), face.jaw, face.chin
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
    for disc in (iris, pupil):  # the part that the lids leave visible
        lids = face.lid * (1 - (disc[:, 0] / 0.25) ** 2)
        disc[:, 1] = np.clip(disc[:, 1], -1.25 * lids, 0.85 * lids)
    for side in (-1, 1):
        eye = easel.moved(0.5 * side)
        eye.glow(oval(0, -0.06, 0.32, 0.2), shadow(face.skin), 0.08, 0.55)
        eye.fill(between(upper, lower), EYE_WHITE)
        eye.fill(iris, face.iris)
        eye.fill(pupil, BLACK)
        eye.fill(ribbon(upper, 0.055, 0.055), LASHES)
        eye.fill(oval(face.gaze + 0.05 * face.light_side, -0.05, 0.03, 0.03), WHITE)
        eye.fill(brow * (side, 1), mix(face.hair, LASHES, 0.6))


def paint_nose(easel: Easel, face: Face) -> None:
    side, shade = face.light_side, shadow(face.skin)
    x, y, width = 0.12 * face.turn, face.nose_y, face.nose_width
    flank = curve([(-0.12 * side, -0.1), (-0.12 * side, 0.2), (x - side * width, y)])
    easel.glow(ribbon(flank, 0.06, 0.16), shade, 0.05, 0.55)
    easel.glow(oval(x, y + 0.1, width * 1.1, 0.06), shade, 0.035, 0.8)
    ridge = curve([(0, -0.1), (x * 0.6, y * 0.5), (x, y - 0.06)])
    easel.glow(ribbon(ridge, 0.06, 0.13), mix(face.skin, WHITE, 0.55), 0.04, 0.7)
    for nostril in (-0.55, 0.55):
        easel.fill(oval(x + nostril * width, y + 0.09, 0.045, 0.025), mix(shade, BLACK, 0.35))


def paint_mouth(easel: Easel, face: Face) -> None:
    """The mouth, between the corners in `Face.landmarks`; the origin is its middle."""
    corner, middle, width = -0.6 * face.smile, 0.4 * face.smile, face.mouth_width
    roof, floor = middle - 0.1 * face.gape, middle + 0.9 * face.gape
    easel.glow(oval(0, floor + 0.24, width * 0.5, 0.05), shadow(face.skin), 0.05, 0.6)
    if face.moustache:  # wider than the mouth, and thick to its ends
        top, bottom = arch(width * 1.3, corner + 0.1, roof - 0.28), arch(width * 1.3, corner + 0.22, roof)
        easel.glow(between(top, bottom), mix(face.hair, shadow(face.hair), 0.5), 0.025, 1)
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
    top, width, dark = -1.5 - face.volume, face.width, mix(face.hair, shadow(face.hair), 0.6)
    end = {"crop": 0.0, "short": 0.15, "bun": 0.0, "curly": 0.1}.get(face.style, 1.2)  # y
    half = ((width + 0.1, end), (width + 0.16, -0.5), (width, -1.1), (0.62, top + 0.12), (0, top))
    outer, inner = curve(mirrored(*half)), curve(hairline(face, end))
    cast = between(outer, inner + np.array((0, 0.1)))
    easel.glow(cast, shadow(face.skin), 0.05, 0.5, inside=head_outline(face))
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
    """Knots from the right temple over the forehead to the left temple; the hair ends at y = `end`."""
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
    easel.glow(oval(0, -0.45, wide, 0.2), shadow(face.skin), 0.08, 0.7, inside=head_outline(face))
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
