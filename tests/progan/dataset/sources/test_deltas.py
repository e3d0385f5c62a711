import base64
import bz2
import hashlib
import tracemalloc

import numpy as np
import pytest
from cryptography.fernet import Fernet

from progan.dataset.sources.deltas import decrypt_delta, undo_wrapping
from progan.dataset.sources.source import UnusableImage


@pytest.mark.parametrize(
    ("total", "aligned", "right"),
    [
        (2, 250, 255),  # 258, wrapped
        (253, 4, 0),  # -3, wrapped
        (2, 100, 2),
        (253, 200, 253),
        (2, 4, 2),
        (15, 255, 255),
        (16, 255, 16),  # too far from the limit to be a decoder's rounding
        (239, 0, 239),
        (240, 0, 0),
        (130, 0, 130),
    ],
)
def test_wrapped_values_are_saturated(total, aligned, right):
    values = (np.full((1, 1, 3), value, np.uint8) for value in (total, aligned))
    repaired = undo_wrapping(*values)
    assert repaired.dtype == np.uint8
    assert (repaired == right).all()


def test_a_bomb_is_not_unpacked(tmp_path):
    """64 MiB of zeros in a few hundred bytes: no more than an image's worth of it is decompressed."""
    compressor = bz2.BZ2Compressor()
    packed = b"".join([*(compressor.compress(bytes(2**24)) for _ in range(4)), compressor.flush()])
    key = hashlib.pbkdf2_hmac("sha256", b"photo", b"1.jpg", 100_000, 32)
    data = Fernet(base64.urlsafe_b64encode(key)).encrypt(packed)
    tracemalloc.start()
    with pytest.raises(UnusableImage, match="has more values, not 12,288"):
        decrypt_delta(data, b"photo", "1.jpg", side=64)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()
