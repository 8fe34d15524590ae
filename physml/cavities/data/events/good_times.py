"""Good time intervals: of all chips together, or of each chip its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from .reading import CHIPS, EventFile

Floats = NDArray[np.float64]
_NAME = re.compile(r"(?P<kind>(STD)?GTI)_?(?P<number>\d*)")


@dataclass
class GoodTimes:
    """Intervals in which events count.

    Attributes
    ----------
    common : ndarray, shape (k, 2), or None
        Those of tables that name no chip [s].
    of_chip : dict
        Those of each chip that has its own.
    names : list of str
        Extensions they come from.
    """

    common: Floats | None = None
    of_chip: dict[int, Floats] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self.common is not None or bool(self.of_chip)

    def hold(self, time: Floats, chip: NDArray[Any] | None) -> NDArray[np.bool_]:
        """Whether events lie in good times.

        Parameters
        ----------
        time : ndarray, shape (n,)
        chip : ndarray of int, shape (n,), or None
        """
        good = np.isfinite(time)
        if self.common is not None:
            good &= _inside(time, self.common)
        if chip is not None:
            for number, intervals in self.of_chip.items():
                mine = chip == number
                good[mine] &= _inside(time[mine], intervals)
        return good

    @property
    def seconds(self) -> float:
        """Good time; the mean over chips where each has its own [s]."""
        every = list(self.of_chip.values())
        if self.common is not None:
            every = [intersect(self.common, one) for one in every] or [self.common]
        return float(np.mean([np.diff(one, axis=1).sum() for one in every])) if every else np.nan


def read_good_times(events: EventFile) -> GoodTimes:
    """Good times of an event list.

    Tables of one name and chip are of several observations: their union counts. Tables of several
    kinds (XMM's STDGTI and those of a later filter) are conditions that hold together.

    Raises
    ------
    InputError
        Intervals that end before they begin, or columns that lack.
    """
    parts: dict[tuple[int | None, str], list[Floats]] = {}
    names = []
    for hdu in events.times:
        chip, kind = _chip_and_kind(hdu, events)
        parts.setdefault((chip, kind), []).append(_read(events, hdu))
        names.append(hdu.name)
    found = GoodTimes(names=names)
    for (chip, _), tables in sorted(parts.items(), key=lambda item: str(item[0])):
        united = merge(np.concatenate(tables))
        before = found.common if chip is None else found.of_chip.get(chip)
        joined = united if before is None else intersect(before, united)
        if chip is None:
            found.common = joined
        else:
            found.of_chip[chip] = joined
    return found


def _chip_and_kind(hdu: Any, events: EventFile) -> tuple[int | None, str]:
    """Chip that a table is of, and the kind of its condition."""
    match = _NAME.match(hdu.name)
    kind = match["kind"] if match else "GTI"
    if events.chip_column is None:
        return None, kind
    for card in CHIPS:
        value = hdu.header.get(card)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return int(value), kind
    number = match["number"] if match else ""
    if not number:
        return None, kind
    # SAS numbers filtered ones GTI00103: the last two digits are the chip.
    return int(number) % 100, kind + ("filtered" if len(number) > 2 else "")


def _read(events: EventFile, hdu: Any) -> Floats:
    columns = {str(name).upper(): str(name) for name in hdu.columns.names}
    if not {"START", "STOP"} <= set(columns):
        raise InputError.expected(
            events.path, f"columns START and STOP in {hdu.name}", ", ".join(columns)
        )
    try:
        start, stop = (np.asarray(hdu.data[columns[n]], np.float64) for n in ("START", "STOP"))
    except Exception as error:  # astropy's tables fail in many ways on damaged bytes
        raise InputError.expected(
            events.path, f"a readable table {hdu.name}", f"a damaged one ({error})"
        ) from error
    if not (np.isfinite(start).all() and np.isfinite(stop).all()) or (stop < start).any():
        raise InputError.expected(
            events.path, f"good times in {hdu.name} that end after they begin", "others"
        )
    return np.column_stack([start, stop])


def merge(intervals: Floats) -> Floats:
    """Sorted intervals, those that overlap or touch joined, shape (k, 2)."""
    if len(intervals) == 0:
        return intervals.reshape(0, 2)
    ordered = intervals[np.argsort(intervals[:, 0], kind="stable")]
    end = np.maximum.accumulate(ordered[:, 1])
    starts = np.flatnonzero(np.append(True, ordered[1:, 0] > end[:-1]))
    return np.column_stack([ordered[starts, 0], end[np.append(starts[1:], len(ordered)) - 1]])


def intersect(a: Floats, b: Floats) -> Floats:
    """Times in both of two merged lists of intervals, shape (k, 2)."""
    edges = np.unique(np.concatenate([a.ravel(), b.ravel()]))
    if len(edges) < 2:
        return np.empty((0, 2))
    middle = (edges[1:] + edges[:-1]) / 2
    both = _inside(middle, a) & _inside(middle, b)
    return merge(np.column_stack([edges[:-1][both], edges[1:][both]]))


def _inside(time: Floats, intervals: Floats) -> NDArray[np.bool_]:
    if len(intervals) == 0:
        return np.zeros(len(time), dtype=bool)
    row = np.searchsorted(intervals[:, 0], time, side="right") - 1
    return np.asarray((row >= 0) & (time <= intervals[np.maximum(row, 0), 1]))
