"""CelebA-HQ's deltas: the difference that the paper's retouching made to an aligned photograph, modulo 256.

Each delta is compressed and encrypted with its photograph as the password, so that only those who have CelebA
can build the dataset. Fernet also ensures that neither was changed (paper, appendix C; the authors' code).
"""

import base64
import bz2
import hashlib
import io

import numpy as np

from progan.dataset.sources.source import UnusableImage

KEY_ROUNDS = 100_000
WRAP_MARGIN = 16  # how far past black or white another JPEG decoder can carry the sum


def decrypt_delta(data: bytes, photo: bytes, photo_name: str, side: int) -> np.ndarray:
    """The delta uint8 [side,side,3] from a member of a delta archive.

    photo: CelebA's own JPEG file; photo_name: its name, ASCII. Raises UnusableImage.
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
    """Saturate values that wrapped around because of another JPEG decoder: uint8 [H,W,C].

    total: aligned + delta, modulo 256. A value slightly above 255 has become almost 0, and the other way
    round. Of the sum and the limit that it may have passed, the one nearer to `aligned` is right.
    """
    limit = np.where(total < 128, np.uint8(255), np.uint8(0))
    near_a_limit = (total < WRAP_MARGIN) | (total > 255 - WRAP_MARGIN)
    nearer = np.abs(np.subtract(limit, aligned, dtype=np.int16)) < np.abs(
        np.subtract(total, aligned, dtype=np.int16)
    )
    return np.where(near_a_limit & nearer, limit, total)
