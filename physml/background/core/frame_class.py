"""Classes of frames and of windows in them: X-rays, particles, both or neither."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .arrays import Ints, Rows
from .events import EVENT_THRESHOLD
from .frames import ORIGINS

#: X-rays only, particles only, both, neither.
XRAY, PARTICLE, BOTH, NEITHER = 0, 1, 2, 3


def classes(place: Ints, pixels: Rows, n: int) -> NDArray[np.uint8]:
    """Classes of frames, or of windows in them.

    Either is there if it left at least the event threshold in some pixel: noise, of which there
    is a pixel above the split threshold in every other frame, is nothing.

    Parameters
    ----------
    place : ndarray of int, shape (n_pixels,)
        Number of each pixel's frame or window; -1 for none.
    pixels : ndarray of `frames.TRUE_PIXEL`, shape (n_pixels,)
    n : int
        Number of frames or windows.

    Returns
    -------
    ndarray of uint8, shape (n,)
        `XRAY`, `PARTICLE`, `BOTH`, `NEITHER`.
    """
    on = place >= 0
    left = {name: pixels[name][on].astype(np.float64) for name in ORIGINS}
    xray = np.bincount(place[on], left.pop("photon") >= EVENT_THRESHOLD, minlength=n) > 0
    particle = np.bincount(place[on], sum(left.values()) >= EVENT_THRESHOLD, minlength=n) > 0
    return np.select([xray & particle, particle, xray], [BOTH, PARTICLE, XRAY], NEITHER).astype(
        np.uint8
    )
