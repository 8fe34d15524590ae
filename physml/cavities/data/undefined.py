"""Pixels whose value says that there is none: NaN, infinity, -1, -999, 1e30, one value for all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .unobserved import find_unobserved

#: Absolute value from which no brightness is meant.
HUGE = 1e25
#: Values that programs write where there is none, wherever they stand.
CODES = (-99.0, -999.0, -9999.0, -99999.0, -32768.0, -2147483648.0)
#: Share of the pixels of a value that lie amid their like, from which they are an area.
CLUMPED = 0.5
#: Share of the image in which what is left of a value beside its area is of the same meaning.
SCATTERED = 0.02
#: Smallest area of one value [share of the image].
SMALLEST = 2e-3


def undefined_pixels(
    data: NDArray[np.float64], blank: float | None = None
) -> tuple[NDArray[np.bool_], str]:
    """Pixels without a value, and what stands there.

    A value is none where it is not finite, or huge, or what the header says; where it is one of
    `CODES` in an image that has no other negative pixels; and where it is the smallest of the
    image and fills an area, pixel beside pixel. Where it is one count below the next value (-1 in
    an image of counts, or counts less a constant) it may be what no count is there, and is none
    only where counts are expected. Zero counts are counts: whether zeros were observed is asked in
    `unobserved`.

    Parameters
    ----------
    data : ndarray, shape (H, W)
    blank : float, optional
        Value that the header gives to undefined pixels.

    Returns
    -------
    ndarray of bool, shape (H, W)
    str
        Such as ``undefined`` or ``-1``, for messages; empty where there is none.
    """
    nothing = ~np.isfinite(data) | (data > HUGE) | (data < -HUGE)
    if blank is not None:
        nothing |= data == blank
    words = ["undefined"] if nothing.any() else []
    rest = data[~nothing] if nothing.any() else data
    if not rest.size:
        return nothing, "undefined"
    lowest = float(rest.min())
    here = data == lowest
    if not lowest or (here.mean() < SMALLEST and lowest not in CODES):
        return nothing, " or ".join(words)
    if lowest in CODES and not ((rest < 0) & (rest != lowest)).any():
        none = here
    elif _one_step(rest, lowest):
        counts = np.where(nothing, 0.0, data - lowest)
        none = find_unobserved(counts, (~nothing).astype(float)) if lowest < 0 else here & False
        if none.any() and (here & ~none).mean() < SCATTERED:
            none = here
    else:
        none = here if _is_area(here) else here & False
    if none.any():
        nothing = nothing | none
        words.append(f"{lowest:g}")
    return nothing, " or ".join(words)


def _one_step(rest: NDArray[np.float64], lowest: float) -> bool:
    """Whether the smallest value is as far from the next as that is from the one after it."""
    above = rest[rest > lowest]
    if not above.size:
        return False
    second = float(above.min())
    third = above[above > second]
    return bool(third.size and np.isclose(third.min() - second, second - lowest, rtol=1e-3))


def _is_area(here: NDArray[np.bool_]) -> bool:
    """Whether pixels of one value lie together, as no noise would have it."""
    # Beyond the image's border it goes on.
    amid = ndimage.binary_erosion(here, np.ones((3, 3)), border_value=1)
    return bool(amid.sum() > CLUMPED * here.sum())
