"""Grades of the missions, as ASCA grades and EPIC-pn patterns, which the probabilities rest on.

References
----------
See `instruments`. eROSITA's PAT_TYP is the number of pixels of a valid pattern, negative for an
invalid one; the direction in PAT_INF tells which way a double extends.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ...core.arrays import Rows
from ..account import Account
from .instruments import Instrument

Grades = NDArray[np.int16]
#: ASCA grade of each EPIC pattern: top and bottom doubles are 2, right ones 4, left ones 3.
PATTERN_GRADE = np.array([0, 2, 4, 2, 3, 6, 6, 6, 6, 6, 6, 6, 6], np.int16)
#: Of Swift's windowed timing, whose rows are summed: single, to the right, to the left.
_WINDOWED = np.array([0, 4, 3], np.int16)
#: Of eROSITA's PAT_TYP: single, double, triple, quadruple.
_PIXELS = np.array([7, 0, 2, 6, 6], np.int16)
#: Columns that tell the shape of an event, in order; of instruments with grades of ASCA, and of
#: others, whose lists may have got a GRADE from us.
COLUMNS = ("GRADE", "PATTERN", "PAT_TYP", "TYPE")
OTHER_COLUMNS = ("PATTERN", "PAT_TYP", "TYPE", "GRADE")
#: No shape of a photon, and the pattern that is not known.
NO_SHAPE, UNKNOWN_PATTERN = 7, -1


def _looked_up(values: Rows, table: Grades) -> Grades:
    valid = (values >= 0) & (values < len(table))
    return np.where(valid, table[np.where(valid, values, 0)], NO_SHAPE).astype(np.int16)


def grades_of(
    path: Path, column: Callable[..., Rows | None], instrument: Instrument, account: Account
) -> tuple[Grades, Grades]:
    """ASCA grades and EPIC-pn patterns of the events of a list.

    Parameters
    ----------
    path : Path
        For messages.
    column : callable
        Gives a column by its name, None where there is none.
    instrument : Instrument
    account : Account
        Where it is noted what was read.

    Returns
    -------
    grade : ndarray of int16, shape (m,)
        0 to 7; 7 where the shape is none of a photon.
    pattern : ndarray of int16, shape (m,)
        0 to 12; -1 where it is not known.

    Raises
    ------
    InputError
        No column tells the shape, or one holds what is no grade.
    """
    order = COLUMNS if instrument.grades == "asca" else OTHER_COLUMNS
    name = next((n for n in order if column(n) is not None), None)
    values = None if name is None else column(name)
    if name is None or values is None:
        raise InputError.expected(
            path, "a column GRADE or PATTERN (or PAT_TYP, TYPE)", "none of them",
            "Without the shape of its charge nothing tells a photon from a particle.",
        )  # fmt: skip
    if values.dtype.kind not in "ui":
        raise InputError.expected(path, f"whole numbers in {name}", str(values.dtype))
    values = values.astype(np.int64)
    if name == "PAT_TYP":
        return _of_pixels(values, account)
    if name == "GRADE" and instrument.grades == "asca":
        return _of_asca(path, values, column("PATTERN"), account)
    if name == "GRADE" and instrument.grades == "windowed":
        account.read("grades", "GRADE of windowed timing: 0 single, 1 and 2 doubles")
        return _looked_up(values, _WINDOWED), np.full(len(values), UNKNOWN_PATTERN, np.int16)
    account.read("grades", f"{name} as EPIC patterns, 0 to 12 are valid")
    valid = (values >= 0) & (values < len(PATTERN_GRADE))
    pattern = np.where(valid, values, UNKNOWN_PATTERN).astype(np.int16)
    return _looked_up(values, PATTERN_GRADE), pattern


def _of_asca(
    path: Path, values: Rows, pattern: Rows | None, account: Account
) -> tuple[Grades, Grades]:
    """Grades of ASCA; those of Hitomi and XRISM beyond 7 are no shapes of photons either."""
    highest = int(values.max(initial=0))
    if values.min(initial=0) < 0 or highest > 11:
        raise InputError.expected(
            path,
            "GRADE from 0 to 7 (ASCA)",
            f"{values.min()} to {highest}",
            "Flight grades (0 to 255) belong in FLTGRADE; of which instrument grades are is told "
            "by TELESCOP and INSTRUME.",
        )
    account.read("grades", "GRADE as ASCA grades")
    grade = np.minimum(values, NO_SHAPE).astype(np.int16)
    if pattern is None or pattern.dtype.kind not in "ui":
        return grade, np.full(len(grade), UNKNOWN_PATTERN, np.int16)
    known = pattern.astype(np.int64)
    valid = (known >= 0) & (known < len(PATTERN_GRADE))
    return grade, np.where(valid, known, UNKNOWN_PATTERN).astype(np.int16)


def _of_pixels(values: Rows, account: Account) -> tuple[Grades, Grades]:
    """Grades from numbers of pixels: the direction of doubles does not matter to P by symmetry."""
    account.read("grades", "PAT_TYP: pixels of a valid pattern, 1 to 4")
    if (values == 2).any():
        account.assume(
            "doubles are taken as grade 2 whichever way they extend (PAT_INF is not read)", "grades"
        )
    return _looked_up(values, _PIXELS), np.where(values == 1, 0, UNKNOWN_PATTERN).astype(np.int16)
