"""CelebA-HQ's deltas: what the paper's retouching added to an aligned photograph, modulo 256.

Each is compressed and encrypted with its photograph as the password, so that the dataset can be had only
by those who have CelebA: Fernet also vouches that neither was changed (paper, appendix C; the authors' code).
"""

import base64
import bz2
import hashlib
import io

import numpy as np

from progan.dataset.sources.source import UnusableImage

KEY_ROUNDS = 100_000
# Another decoder's values carry a sum no further than this past black or white.
WRAP_MARGIN = 16


def decrypt_delta(data: bytes, photo: bytes, photo_name: str, side: int) -> np.ndarray:
    """The delta uint8 [side,side,3] from a member of a delta archive.

    photo: the JPEG file as CelebA has it; photo_name: its name, ASCII. Raises UnusableImage.
    """
    from cryptography.fernet import Fernet, InvalidToken

    key = hashlib.pbkdf2_hmac("sha256", photo, photo_name.encode("ascii"), KEY_ROUNDS, 32)
    try:
        packed = Fernet(base64.urlsafe_b64encode(key)).decrypt(data)
    except InvalidToken:
        raise UnusableImage(
            "its delta does not decrypt: the photograph is not CelebA's own JPEG, or the delta is damaged"
        ) from None
    size = 3 * side * side
    try:
        with bz2.open(io.BytesIO(packed)) as stream:
            values = stream.read(size + 1)
    except (OSError, EOFError):
        raise UnusableImage("its delta is not bzip2, or cut off") from None
    if len(values) != size:
        much = "more" if len(values) > size else f"{len(values):,}"
        raise UnusableImage(f"its delta has {much} values, not {size:,}")
    return np.frombuffer(values, np.uint8).reshape(3, side, side).transpose(1, 2, 0)


def undo_wrapping(total: np.ndarray, aligned: np.ndarray) -> np.ndarray:
    """Saturate where another decoder's photograph made the sum with a delta wrap around: uint8 [H,W,C].

    A value a little over 255 has become almost 0, and the other way round. Of such a sum and the value
    at which it should have stopped, the one nearer to the aligned photograph is right.
    """
    limit = np.where(total < 128, np.uint8(255), np.uint8(0))
    near_a_limit = (total < WRAP_MARGIN) | (total > 255 - WRAP_MARGIN)
    nearer = np.abs(np.subtract(limit, aligned, dtype=np.int16)) < np.abs(
        np.subtract(total, aligned, dtype=np.int16)
    )
    return np.where(near_a_limit & nearer, limit, total)
