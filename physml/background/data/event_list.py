"""Existing event lists: read, checked, and given probabilities without their frames.

What made a list threw the frames away. Left are the energy and the grade of each event, on which
a probability can be built, but no context: no distance to a track, no shape. The result says so.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header
from astropy.table import Table
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.fits import open_hdus

from ..core.arrays import Floats, Ints, Rows

log = logging.getLogger(__name__)

#: A median energy beyond it is none in keV: no X-ray camera sees it [keV].
NOT_KEV = 100.0
#: Width of a PI channel, keV, and number of the first, by TELESCOP and INSTRUME.
CHANNELS = {
    ("CHANDRA", "ACIS"): (14.6e-3, 1),
    ("XMM", "EPN"): (1e-3, 0),
    ("XMM", "EMOS1"): (1e-3, 0),
    ("XMM", "EMOS2"): (1e-3, 0),
    ("SWIFT", "XRT"): (10e-3, 0),
    ("SUZAKU", "XIS0"): (3.65e-3, 0),
    ("SUZAKU", "XIS1"): (3.65e-3, 0),
    ("SUZAKU", "XIS3"): (3.65e-3, 0),
    ("XRISM", "XTEND"): (6e-3, 0),
}
#: ASCA grade of each EPIC-pn PATTERN: top and bottom doubles are 2, right ones 4, left ones 3.
PATTERN_GRADE = np.array([0, 2, 4, 2, 3, 6, 6, 6, 6, 6, 6, 6, 6], np.int16)


@dataclass
class EventList:
    """An event list as it is in the file.

    Attributes
    ----------
    table : Table
        All its columns, under their own names.
    header : Header
        Of the EVENTS extension.
    energy : ndarray of float64, shape (m,)
        keV.
    grade : ndarray of int16, shape (m,)
        ASCA grade; 7 where the pattern is no valid one.
    pattern : ndarray of int16, shape (m,)
        EPIC-pn pattern, -1 where it is not known.
    time : ndarray of float64, shape (m,)
        s.
    frame : ndarray of int64, shape (m,)
        Number of the readout each event comes from: by TIMEDEL where the header has it, else the
        rank of its time.
    frame_time : float
        s, nan where it is not known.
    intervals : ndarray, shape (k, 2)
        Good time, s.
    name : str
    path : Path or None
    files : dict
        Input files by role.
    remarks : list of str
    """

    table: Table
    header: Header
    energy: Floats
    grade: NDArray[np.int16]
    pattern: NDArray[np.int16]
    time: Floats
    frame: Ints
    frame_time: float
    intervals: Floats
    name: str
    path: Path | None = None
    files: dict[str, Path] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of events."""
        return len(self.energy)

    def remark(self, text: str) -> None:
        """Note something that the user should know."""
        self.remarks.append(text)
        log.warning("%s: %s", self.name, text)

    def column(self, *names: str) -> Rows | None:
        """Column by any of its names, whatever the case; None where there is none."""
        return _column(self.table, *names)


def _column(table: Table, *names: str) -> Rows | None:
    known = {name.upper(): name for name in table.colnames}
    for name in names:
        if name.upper() in known:
            column = table[known[name.upper()]]
            return np.asarray(getattr(column, "value", column))
    return None


def load_events(path: str | Path, *, channel: float | None = None) -> EventList:
    """Read and check an event list.

    Parameters
    ----------
    path : path
        FITS file with an extension EVENTS: TIME, GRADE (ASCA, 0 to 7) or PATTERN (EPIC-pn), and
        ENERGY or PI.
    channel : float, optional
        Width of a PI channel, keV, with channel 0 beginning at 0; known for common instruments.

    Raises
    ------
    InputError
        A column is missing, times are out of order or events doubled, energies are not in keV or
        the unit that the file tells.
    """
    source = Path(path)
    with open_hdus(source) as hdus:
        tables = [h for h in hdus if isinstance(h, fits.BinTableHDU)]
        events = next((h for h in tables if h.name == "EVENTS"), None)
        if events is None:
            raise InputError.expected(
                source,
                "an extension EVENTS",
                ", ".join(h.name or "an unnamed table" for h in tables) or "no table",
            )
        gtis = [h for h in tables if h.name.startswith(("GTI", "STDGTI"))]
        try:
            table = Table.read(events)
            intervals = _read_intervals(source, gtis)
        except InputError:
            raise
        except Exception as error:  # astropy's tables fail in many ways on damaged bytes
            raise InputError.expected(
                source, "readable tables", f"damaged ones ({error})"
            ) from error
        header = events.header.copy()
    if len(table) == 0:
        raise InputError.expected(source, "events", "none: the list is empty")
    _check_numbers(source, table)
    time = _times(source, table)
    energy = _energies(source, table, header, channel)
    grade, pattern = _grades(source, table)
    _check_doubled(source, table, time, energy)
    frame, step = _frames(time, header)
    found = EventList(
        table, header, energy, grade, pattern, time, frame, step, np.empty((0, 2)),
        name=source.name, path=source, files={"events": source},
    )  # fmt: skip
    _set_intervals(found, intervals)
    return found


def _check_numbers(path: Path, table: Table) -> None:
    """Refuse columns that are used and hold texts, vectors or complex numbers."""
    for name in ("TIME", "ENERGY", "PI", "GRADE", "PATTERN"):
        values = _column(table, name)
        if values is not None and (values.ndim != 1 or values.dtype.kind not in "uif"):
            raise InputError.expected(
                path, f"a number for each event in {name}", f"{values.dtype}, {values.ndim} axes"
            )


def _read_intervals(path: Path, gtis: list[Any]) -> Floats:
    """Good time intervals of all GTI extensions together, sorted and merged."""
    parts = []
    for hdu in gtis:
        names = {str(n).upper(): n for n in hdu.columns.names}
        if not {"START", "STOP"} <= set(names):
            raise InputError.expected(
                path, f"columns START and STOP in {hdu.name}", ", ".join(hdu.columns.names)
            )
        start = np.asarray(hdu.data[names["START"]], np.float64)
        stop = np.asarray(hdu.data[names["STOP"]], np.float64)
        if not (np.isfinite(start).all() and np.isfinite(stop).all()) or (stop < start).any():
            raise InputError.expected(path, f"good times in {hdu.name} that end after they begin",
                                      "others")  # fmt: skip
        parts.append(np.column_stack([start, stop]))
    if not parts:
        return np.empty((0, 2))
    return merge_intervals(np.concatenate(parts))


def merge_intervals(intervals: Floats) -> Floats:
    """Sort intervals and join those that overlap or touch."""
    if len(intervals) == 0:
        return intervals.reshape(0, 2)
    ordered = intervals[np.argsort(intervals[:, 0], kind="stable")]
    end = np.maximum.accumulate(ordered[:, 1])
    new = np.append(True, ordered[1:, 0] > end[:-1])
    starts = np.flatnonzero(new)
    return np.column_stack([ordered[starts, 0], end[np.append(starts[1:], len(ordered)) - 1]])


def _times(path: Path, table: Table) -> Floats:
    time = _column(table, "TIME")
    if time is None:
        raise InputError.expected(path, "a column TIME", f"only {', '.join(table.colnames)}")
    time = time.astype(np.float64)
    if not np.isfinite(time).all():
        raise InputError.expected(path, "finite times", f"{int((~np.isfinite(time)).sum())} others")
    back = np.flatnonzero(np.diff(time) < 0)
    if len(back):
        k = int(back[0])
        raise InputError.expected(
            path,
            "events in order of TIME",
            f"{time[k + 1]:.6f} after {time[k]:.6f} in row {k + 2}, and {len(back)} such steps",
            "Sort the list by TIME.",
        )
    return time


def _energies(path: Path, table: Table, header: Header, channel: float | None) -> Floats:
    given = _column(table, "ENERGY")
    if given is not None:
        name = [n for n in table.colnames if n.upper() == "ENERGY"][-1]
        unit = str(table[name].unit or "")
        factors = {"": 1.0, "keV": 1.0, "eV": 1e-3, "kev": 1.0, "ev": 1e-3}
        if unit not in factors:
            raise InputError.expected(path, "ENERGY in keV or eV", f"the unit {unit!r}")
        energy = given.astype(np.float64) * factors[unit]
        hint = "Give the column its unit: TUNITn = 'eV'." if unit == "" else "Its TUNIT is wrong."
    else:
        pi = _column(table, "PI")
        if pi is None:
            raise InputError.expected(
                path, "a column ENERGY or PI", f"only {', '.join(table.colnames)}"
            )
        width, first = _channel(path, header, channel)
        energy = (pi.astype(np.float64) - first + 0.5) * width
        hint = "Check the width of a PI channel (channel=, in keV)."
    finite = np.isfinite(energy)
    if not finite.all():
        raise InputError.expected(path, "finite energies", f"{int((~finite).sum())} others")
    if (energy < -1).any():
        raise InputError.expected(path, "energies above 0", f"{energy.min():.4g} keV", hint)
    middle = float(np.median(energy))
    if middle > NOT_KEV:
        raise InputError.expected(
            path, "energies in keV", f"a median of {middle:.4g}: this looks like eV", hint
        )
    return energy


def _channel(path: Path, header: Header, channel: float | None) -> tuple[float, int]:
    if channel is not None:
        if not (np.isfinite(channel) and 0 < channel < 1):
            raise InputError(f"channel=: expected a width in keV, from 0 to 1, found {channel}")
        return float(channel), 0
    key = tuple(str(header.get(name, "")).strip().upper() for name in ("TELESCOP", "INSTRUME"))
    if key in CHANNELS:
        return CHANNELS[key]
    raise InputError.expected(
        path,
        "ENERGY, or PI of an instrument whose channels are known",
        f"PI of TELESCOP {key[0]!r}, INSTRUME {key[1]!r}",
        "Give the width of a channel in keV (channel=).",
    )


def _grades(path: Path, table: Table) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """ASCA grades and EPIC-pn patterns; of a list with GRADE only, patterns are not known."""
    grade = _column(table, "GRADE")
    pattern = _column(table, "PATTERN")
    for name, values in (("GRADE", grade), ("PATTERN", pattern)):
        if values is not None and values.dtype.kind not in "ui":
            raise InputError.expected(path, f"whole numbers in {name}", str(values.dtype))
    if grade is not None:
        if grade.min() < 0 or grade.max() > 7:
            raise InputError.expected(
                path,
                "GRADE from 0 to 7 (ASCA)",
                f"{grade.min()} to {grade.max()}",
                "Flight grades (0 to 255) belong in FLTGRADE.",
            )
        known = pattern if pattern is not None else np.full(len(grade), -1)
        return grade.astype(np.int16), known.astype(np.int16)
    if pattern is None:
        raise InputError.expected(
            path, "a column GRADE or PATTERN", f"only {', '.join(table.colnames)}",
            "Without the shape of its charge nothing tells a photon from a particle.",
        )  # fmt: skip
    valid = (pattern >= 0) & (pattern < len(PATTERN_GRADE))
    out = np.where(valid, PATTERN_GRADE[np.where(valid, pattern, 0)], 7)
    return out.astype(np.int16), np.where(valid, pattern, -1).astype(np.int16)


def _check_doubled(path: Path, table: Table, time: Floats, energy: Floats) -> None:
    """Refuse lists in which an event occurs twice; several events of one frame share their time."""
    keys = [time, energy]
    for names in (("RAWX", "CHIPX"), ("RAWY", "CHIPY"), ("X",), ("Y",), ("CCD_ID", "CCDNR")):
        column = _column(table, *names)
        if column is not None and column.dtype.kind in "uif" and column.ndim == 1:
            keys.append(column)
    order = np.lexsort(tuple(keys[::-1]))
    same = np.ones(max(len(time) - 1, 0), bool)
    for key in keys:
        same &= np.diff(key[order]) == 0
    if same.any():
        k = int(np.argmax(same))
        raise InputError.expected(
            path,
            "each event once",
            f"{int(same.sum())} doubled, the first at TIME {time[order[k]]:.6f}",
            "Were two lists joined that overlap?",
        )


def _frames(time: Floats, header: Header) -> tuple[Ints, float]:
    """Number of the readout of each event, and the frame time."""
    step = header.get("TIMEDEL")
    start = header.get("TSTART", time[0])
    if isinstance(step, int | float) and step > 0 and isinstance(start, int | float):
        start = min(float(start), float(time[0]))
        span = (time[-1] - start) / float(step)
        if span < 1 << 40:
            return np.floor((time - start) / float(step)).astype(np.int64), float(step)
    frame = np.cumsum(np.append(0, np.diff(time) > 0)).astype(np.int64)
    return frame, float("nan")


def _set_intervals(events: EventList, intervals: Floats) -> None:
    time = events.time
    step = 0.0 if np.isnan(events.frame_time) else events.frame_time
    if len(intervals) == 0:
        # Times are of the middle of a frame.
        events.intervals = np.array([[time[0] - step / 2, time[-1] + step / 2]])
        events.remark("no GTI: the good time is taken to last from the first event to the last")
        return
    events.intervals = intervals
    row = np.searchsorted(intervals[:, 0], time + step, side="right") - 1
    inside = (row >= 0) & (time <= intervals[np.maximum(row, 0), 1] + step)
    if not inside.all():
        events.remark(f"{int((~inside).sum())} events lie outside of the good time intervals")
