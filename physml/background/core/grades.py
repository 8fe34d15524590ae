"""Shapes of X-ray events: EPIC-pn patterns and ACIS/ASCA grades.

A photon's charge cloud is smaller than a pixel, so that it lands in one pixel or in up to four
that meet at a corner. Both conventions name those shapes by the pixels above the split threshold
around the brightest one. Rows are drawn upwards: "top" is y + 1, "right" is x + 1.

References
----------
XMM-Newton SAS, task epevents (PATTERN); Chandra Proposers' Observatory Guide, table of ACIS
flight grades and ASCA grades.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Weight of each neighbour in an ACIS flight grade, (y, x) with y - 1 first.
WEIGHTS = np.array([[1, 2, 4], [8, 0, 16], [32, 64, 128]], np.int16)
BOTTOM, LEFT, RIGHT, TOP = 2, 8, 16, 64
INVALID = -1
#: ASCA grades that are kept as X-rays.
GOOD_GRADES = (0, 2, 3, 4, 6)
_DOUBLES = (TOP, RIGHT, BOTTOM, LEFT)
_SIDES = TOP | RIGHT | BOTTOM | LEFT
#: Corners clockwise from the top right: their two sides, the pixel between, the pixel opposite.
_CORNERS = (
    (TOP, RIGHT, 128, 1),
    (BOTTOM, RIGHT, 4, 32),
    (BOTTOM, LEFT, 1, 128),
    (TOP, LEFT, 32, 4),
)
#: ASCA grade of one side alone, and the corners attached to it.
_SINGLE_SIDED = ((2, TOP, 32 | 128), (2, BOTTOM, 1 | 4), (3, LEFT, 1 | 32), (4, RIGHT, 4 | 128))


def _pattern_table() -> NDArray[np.int16]:
    """PATTERN by flight grade, where the event has no pixels but those in the grade."""
    table = np.full(256, INVALID, np.int16)
    table[0] = 0
    for k, side in enumerate(_DOUBLES):
        table[side] = 1 + k
    for k, (first, second, between, _) in enumerate(_CORNERS):
        table[first + second] = 5 + k
        table[first + second + between] = 9 + k
    return table


def _grade_table() -> NDArray[np.int16]:
    """ASCA grade by flight grade.

    A corner is attached where a side next to it is above the threshold, else detached. Detached
    corners are taken for other events and never spoil a grade.
    """
    codes = np.arange(256)
    table = np.full(256, 7, np.int16)
    sides = codes & _SIDES
    corners = codes & ~sides
    table[sides == 0] = 1
    table[0] = 0
    for grade, side, near in _SINGLE_SIDED:
        attached = corners & near
        table[(sides == side) & (attached == 0)] = grade
        table[(sides == side) & (attached > 0) & (attached < near)] = 5
    for first, second, between, opposite in _CORNERS:
        allowed = (corners & ~(between | opposite)) == 0
        table[(sides == first + second) & allowed] = 6
    return table


_PATTERN = _pattern_table()
_GRADE = _grade_table()
#: The corner that closes the square of two sides, as a place in a flattened 3 x 3; 4 elsewhere.
_BETWEEN = np.full(256, 4, np.int16)
for _first, _second, _between, _ in _CORNERS:
    _BETWEEN[_first + _second] = np.flatnonzero(WEIGHTS.ravel() == _between)[0]
_AT_SIDE = np.isin(WEIGHTS.ravel(), (TOP, RIGHT, BOTTOM, LEFT))


def flight_grades(islands: NDArray[np.floating], split: float) -> NDArray[np.int16]:
    """ACIS flight grade: sum of the weights of the neighbours above the split threshold.

    Parameters
    ----------
    islands : ndarray, shape (m, 3, 3)
        Energies around each event's brightest pixel, keV; axes (y, x).
    split : float
        keV.

    Returns
    -------
    ndarray of int16, shape (m,)
        0 to 255.
    """
    above: NDArray[np.int16] = ((islands > split) * WEIGHTS).sum(axis=(1, 2), dtype=np.int16)
    return above


def asca_grades(islands: NDArray[np.floating], split: float) -> NDArray[np.int16]:
    """ASCA grade of 3 x 3 islands: `flight_grades`, then `grade_of_flight_grade`.

    Returns
    -------
    ndarray of int16, shape (m,)
        0 single; 1 diagonal; 2 vertical; 3 left; 4 right; 5 single-sided with a corner attached;
        6 L and square; 7 all others.
    """
    return grade_of_flight_grade(flight_grades(islands, split))


def grade_of_flight_grade(code: NDArray[np.integer]) -> NDArray[np.int16]:
    """ASCA grade (0 to 7) of ACIS flight grades (0 to 255)."""
    return _GRADE[code]


def epic_patterns(
    islands: NDArray[np.floating], n_pixels: NDArray[np.integer], split: float
) -> NDArray[np.int16]:
    """EPIC-pn PATTERN from 3 x 3 islands.

    0 single; 1-4 doubles, the partner at the top, right, bottom, left; 5-8 triples, an L with the
    brightest pixel at its corner, opening to the top right, bottom right, bottom left, top left;
    9-12 quads, a square to those sides with its faintest pixel diagonal to the brightest (or
    equal to the faintest). All else is -1.

    Parameters
    ----------
    islands : ndarray, shape (m, 3, 3)
        Energies around each event's brightest pixel, keV; axes (y, x). Detached corners may be
        above the threshold: they are other events, and ignored.
    n_pixels : ndarray of int, shape (m,)
        Pixels of the event, wherever they are. An event with more pixels than its shape is -1.
    split : float
        keV.

    Returns
    -------
    ndarray of int16, shape (m,)
    """
    values = islands.reshape(-1, 9)
    code = flight_grades(islands, split)
    sides = code & _SIDES
    # A corner above the threshold next to a side that is, too, belongs to the event. If it closes
    # the square of two sides, the four of them are the event unless it has more pixels.
    corner = _BETWEEN[sides]
    closing = np.take_along_axis(values, corner[:, None].astype(np.intp), axis=1)[:, 0]
    square = (corner != 4) & (closing > split)
    own = np.where(square, sides | WEIGHTS.ravel()[corner], sides)
    pattern = _PATTERN[own]
    size = 1 + np.bitwise_count(own.astype(np.uint8))
    pattern = np.where(size == n_pixels, pattern, INVALID)
    lowest = np.where((values > split) & _AT_SIDE, values, np.inf).min(axis=1, initial=np.inf)
    return np.where(square & (closing > lowest), INVALID, pattern).astype(np.int16)
