"""An image at all resolutions."""

import numpy as np


def pyramid(top: np.ndarray) -> dict[int, np.ndarray]:
    """The image at R, R/2, …, 4 (keys), each uint8 [r,r,C]; `top`: uint8 [R,R,C], R a power of two.

    A level is the mean of 2×2 blocks of the *unrounded* level above (float32, exact for uint8 input up to
    1024 px); each level is rounded half-even separately. Source: dataset_tool of the authors' code.
    """
    level = top.astype(np.float32)
    levels = {}
    while True:
        levels[level.shape[0]] = np.rint(level).astype(np.uint8)
        if level.shape[0] == 4:
            return levels
        corners = level[0::2, 0::2] + level[0::2, 1::2] + level[1::2, 0::2] + level[1::2, 1::2]
        level = corners * np.float32(0.25)
