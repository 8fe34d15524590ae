"""Good time intervals: of all chips together, or of each chip its own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from physml.exceptions import InputError

from ...core.arrays import Bools, Floats, Ints
from .cards import number, seconds, text

#: Columns, and cards of GTI tables, that name a chip or a telescope of several.
CHIPS = ("CCD_ID", "CCDNR", "TM_NR", "CCD_NO")
_NAME = re.compile(r"(?P<kind>(STD)?GTI)_?(?P<number>\d*)$")
#: Share of a second within which a time lies on the edge of an interval: rounding.
ROUNDING = 1e-6


@dataclass
class GoodTimes:
    """Intervals in which events count.

    Attributes
    ----------
    common : ndarray, shape (k, 2), or None
        Those of tables that name no chip, s.
    of_chip : dict
        Those of each chip that has its own, s.
    names : list of str
        Extensions that they come from.
    """

    common: Floats | None = None
    of_chip: dict[int, Floats] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self.common is not None or bool(self.of_chip)

    @property
    def union(self) -> Floats:
        """Times that are good for any chip, shape (k, 2)."""
        if not self.of_chip:
            return np.empty((0, 2)) if self.common is None else self.common
        joined = merge_intervals(np.concatenate(list(self.of_chip.values())))
        return joined if self.common is None else intersect(self.common, joined)

    def hold(self, time: Floats, chip: Ints | None) -> Bools:
        """Whether events lie in good times; a chip without a table counts in those of any.

        Parameters
        ----------
        time : ndarray, shape (n,)
            s.
        chip : ndarray of int, shape (n,), or None
        """
        good = inside(time, self.union)
        if chip is not None:
            for name, intervals in self.of_chip.items():
                mine = chip == name
                good[mine] &= inside(time[mine], intervals)
        return good


def read_good_times(path: Path, hdus: Iterable[Any], chips: Ints | None, unit: float) -> GoodTimes:
    """Good times of an event list.

    Tables of one kind and chip are of several observations: their union counts. Tables of several
    kinds (XMM's STDGTI and the GTI of a later filter) are conditions that hold together.

    Parameters
    ----------
    path : Path
        For messages.
    hdus : iterable of BinTableHDU
        Of good times.
    chips : ndarray of int, or None
        Chips that there are events of; None where events name no chip.
    unit : float
        Seconds in the unit of times of the list, for tables that tell none.

    Raises
    ------
    InputError
        Columns are missing, or intervals end before they begin.
    """
    parts: dict[tuple[int | None, str], list[Floats]] = {}
    found = GoodTimes()
    every = [
        h for h in hdus if h.name.upper().startswith(("GTI", "STDGTI")) and hasattr(h, "columns")
    ]
    # Those with a number of a chip at most; others, such as GTILOST, are of something else.
    tables = [h for h in every if _NAME.match(h.name.upper())] or every
    for hdu in tables:
        # A single table holds for all, whatever chip it names.
        chip, kind = (None, "GTI") if len(tables) == 1 else _chip_and_kind(hdu, chips)
        parts.setdefault((chip, kind), []).append(_read(path, hdu, unit))
        found.names.append(hdu.name)
    for (chip, _), pieces in sorted(parts.items(), key=lambda item: str(item[0])):
        united = merge_intervals(np.concatenate(pieces))
        before = found.common if chip is None else found.of_chip.get(chip)
        joined = united if before is None else intersect(before, united)
        if chip is None:
            found.common = joined
        else:
            found.of_chip[chip] = joined
    return found


def _chip_and_kind(hdu: Any, chips: Ints | None) -> tuple[int | None, str]:
    """Chip that a table is of, and the kind of its condition."""
    match = _NAME.match(hdu.name.upper())
    kind = match["kind"] if match else "GTI"
    if chips is None:
        return None, kind
    told = number(hdu.header, *CHIPS)
    if told is not None:
        return int(told), kind
    digits = match["number"] if match else ""
    if not digits:
        return None, kind
    # SAS numbers filtered ones GTI00103: the last two digits are the chip.
    return int(digits) % 100, kind + ("filtered" if len(digits) > 2 else "")


def _read(path: Path, hdu: Any, unit: float) -> Floats:
    names = {str(n).upper(): str(n) for n in hdu.columns.names}
    if not {"START", "STOP"} <= set(names):
        raise InputError.expected(
            path, f"columns START and STOP in {hdu.name}", ", ".join(names.values())
        )
    default = seconds(text(hdu.header, "TIMEUNIT")) if "TIMEUNIT" in hdu.header else unit
    edges = []
    for key in ("START", "STOP"):
        try:
            values = np.asarray(hdu.data[names[key]], np.float64)
        except Exception as error:  # astropy's tables fail in many ways on damaged bytes
            raise InputError.expected(
                path, f"a readable table {hdu.name}", f"a damaged one ({error})"
            ) from error
        told = hdu.columns[names[key]].unit
        factor = seconds(told) if told else default
        if factor is None:
            raise InputError.expected(path, f"a unit of time in {hdu.name}", repr(told))
        edges.append(values * factor)
    start, stop = edges
    if start.ndim != 1 or not (np.isfinite(start).all() and np.isfinite(stop).all()):
        raise InputError.expected(path, f"finite times in {hdu.name}", "others")
    if (stop < start).any():
        raise InputError.expected(
            path, f"good times in {hdu.name} that end after they begin", "others"
        )
    return np.column_stack([start, stop])


def merge_intervals(intervals: Floats) -> Floats:
    """Sort intervals and join those that overlap or touch."""
    if len(intervals) == 0:
        return intervals.reshape(0, 2)
    ordered = intervals[np.argsort(intervals[:, 0], kind="stable")]
    end = np.maximum.accumulate(ordered[:, 1])
    new = np.append(True, ordered[1:, 0] > end[:-1])
    starts = np.flatnonzero(new)
    return np.column_stack([ordered[starts, 0], end[np.append(starts[1:], len(ordered)) - 1]])


def intersect(a: Floats, b: Floats) -> Floats:
    """Times in both of two merged lists of intervals, shape (k, 2)."""
    edges = np.unique(np.concatenate([a.ravel(), b.ravel()]))
    if len(edges) < 2:
        return np.empty((0, 2))
    middle = (edges[1:] + edges[:-1]) / 2
    both = inside(middle, a, 0.0) & inside(middle, b, 0.0)
    return merge_intervals(np.column_stack([edges[:-1][both], edges[1:][both]]))


def inside(time: Floats, intervals: Floats, margin: float = ROUNDING) -> Bools:
    """Whether times lie in sorted intervals, edges included."""
    if len(intervals) == 0:
        return np.zeros(len(time), bool)
    row = np.searchsorted(intervals[:, 0] - margin, time, side="right") - 1
    return np.asarray((row >= 0) & (time <= intervals[np.maximum(row, 0), 1] + margin))
