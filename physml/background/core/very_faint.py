"""The rule of the very faint mode of ACIS on islands of 5 x 5 pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .arrays import Bools


def very_faint(islands: NDArray[np.floating], split: float) -> Bools:
    """Events that the rule of the very faint mode of ACIS takes for background.

    An X-ray's charge stays within 3 x 3 pixels; charge in the 16 pixels around those, of a 5 x 5
    island about the brightest pixel, is a particle's (Vikhlinin 2001, Chandra calibration memo
    "Reducing ACIS quiescent background using Very Faint mode").

    Parameters
    ----------
    islands : ndarray, shape (m, 5, 5)
        As of `events.Found.patches`, in any unit.
    split : float
        Split threshold in the same unit; an outer pixel has to be above it.

    Returns
    -------
    ndarray of bool, shape (m,)

    Raises
    ------
    ValueError
        The islands are not 5 x 5.
    """
    if islands.shape[1:] != (5, 5):
        raise ValueError(f"expected islands of 5 x 5 pixels, found shape {islands.shape}")
    above = islands > split
    above[:, 1:4, 1:4] = False
    found: Bools = np.any(above, axis=(1, 2))
    return found
