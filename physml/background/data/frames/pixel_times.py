"""Frames and their times from the TIME that tables of pixels have in each row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.arrays import Ints, Rows
from ..times import Told

#: Part of a frame time by which times may miss a border between frames.
NEAR = 0.02


def by_time(time: Rows, told: Told) -> tuple[Ints, float, float] | None:
    """Number readouts by time.

    Parameters
    ----------
    time : ndarray of float64, shape (n,)
        Of each pixel, s, in any order.
    told : Told
        What the header tells: a frame time is used, and where frame 0 begins.

    Returns
    -------
    index : ndarray of int64, shape (n,)
        Frame of each pixel.
    step, begin : float
        Frame time, and the beginning of frame 0, s. None where there is no frame time, and all
        pixels are of one time.
    """
    first = float(time.min())
    step = told.frame_time
    if step is None:
        apart = np.diff(np.unique(time))
        # Times of one readout may differ by rounding, which is far smaller than any frame time.
        apart = apart[apart > 1e-9 * max(1.0, abs(first))]
        if len(apart) == 0:
            return None
        step = float(apart.min())
    begin = first - step / 2 if told.origin is None else min(told.origin, first)
    return np.floor((time - begin) / step + 1e-6).astype(np.int64), step, begin


def line(
    frames: Sequence[int], times: Sequence[float], told: Told, pixel: float | None
) -> tuple[float, float] | None:
    """Frame time and beginning of frame 0 from two pixels far apart.

    A time may be that of an arrival within the frame: the slope is then good to one part in their
    number, and what the header tells is better where it agrees.

    Parameters
    ----------
    frames : two int
        Their frames.
    times : two float
        Their TIME, s.
    told : Told
        What the header tells.
    pixel : float or None
        TIMEPIXR: where in a frame TIME is, 0 to 1; None where it is not told.

    Returns
    -------
    step, begin : float
        s; None where the pixels tell nothing.
    """
    number = frames[1] - frames[0]
    slope = (times[1] - times[0]) / number if number else 0.0
    step = told.frame_time
    if np.isfinite(slope) and slope > 0:
        slope = float(f"{slope:.9g}")
        if step is None or abs(step / slope - 1) > max(0.01, 1.0 / number):
            step = slope
    if step is None or not np.isfinite(times[0]):
        return None
    if pixel is None:
        pixel = _place(times, step, told)
    return step, times[0] - (frames[0] + pixel) * step


def _place(times: Sequence[float], step: float, told: Told) -> float:
    """Where in a frame TIME is, by the start that the header tells: in the middle by default."""
    if told.origin is None:
        return 0.5
    phase = ((times[0] - told.origin) / step) % 1.0
    if min(phase, 1 - phase) > NEAR:
        return 0.5
    # On a border between frames: their beginnings, unless the last one then ends too late.
    late = told.stop is not None and times[1] + step > told.stop + step / 2
    return 1.0 if late else 0.0
