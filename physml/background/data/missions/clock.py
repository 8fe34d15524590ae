"""Times of an event list: unit, frame time, good time where no table tells it, live time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io.fits import Header

from physml.exceptions import InputError

from ...core.arrays import Floats, Ints, Rows
from ..account import Account
from .cards import comment_unit, number, seconds, text

#: Difference of two live times, relative, that is more than rounding.
DIFFERENT = 1e-3


@dataclass(frozen=True)
class Clock:
    """How a list counts time.

    Attributes
    ----------
    unit : float
        Seconds in the unit of TSTART, TSTOP, TIMEDEL and TIMEZERO (TIMEUNIT).
    column : float
        Seconds in the unit of the column TIME.
    start, stop : float or None
        TSTART and TSTOP, s.
    frame_time : float
        s, nan where it is not known.
    phase : float
        Part of the frame at which TIME stands (TIMEPIXR).
    """

    unit: float = 1.0
    column: float = 1.0
    start: float | None = None
    stop: float | None = None
    frame_time: float = float("nan")
    phase: float = 0.5


def read_clock(path: Path, header: Header, time_unit: str, account: Account) -> Clock:
    """Read the cards that tell how a list counts time.

    Parameters
    ----------
    path : Path
        For messages.
    header : Header
    time_unit : str
        TUNIT of the column TIME; TIMEUNIT counts where it is empty.
    account : Account

    Raises
    ------
    InputError
        A unit is none of time.
    """
    unit = seconds(text(header, "TIMEUNIT"))
    column = unit if not time_unit.strip() else seconds(time_unit)
    for found, what in ((unit, text(header, "TIMEUNIT")), (column, time_unit)):
        if found is None:
            raise InputError.expected(path, "TIME in a unit of time", repr(what))
    assert unit is not None
    assert column is not None
    if unit != 1 or column != 1:
        account.read("unit of times", f"TIME in {column:g} s, cards in {unit:g} s")
    start, stop = (_finite(number(header, name), unit) for name in ("TSTART", "TSTOP"))
    phase = number(header, "TIMEPIXR")
    return Clock(
        unit,
        column,
        start,
        stop,
        _frame_time(header, unit, account),
        0.5 if phase is None or not 0 <= phase <= 1 else phase,
    )


def _finite(value: float | None, unit: float) -> float | None:
    """Time in seconds; None where there is none, or none that a number holds."""
    return None if value is None or not np.isfinite(value * unit) else value * unit


def _frame_time(header: Header, unit: float, account: Account) -> float:
    """Frame time of the cards, s; nan where none tells it."""
    telescope = text(header, "TELESCOP").upper()
    cards = (
        ("TIMEDEL", unit),
        ("FRMTIME", 1e-3),  # XMM-Newton counts it in ms
        ("FRAMETIM", 1e-3 if telescope.startswith(("EROSITA", "SRG")) else 1.0),
        ("FRAMETIME", 1.0),
        # The static frame time of ACIS; elsewhere EXPTIME is that of the observation.
        *([("EXPTIME", 1.0)] if telescope.startswith("CHANDRA") else []),
    )
    for name, factor in cards:
        value = number(header, name)
        if value is None or value <= 0:
            continue
        told = comment_unit(header, name)
        used = seconds(told) if told and name != "TIMEDEL" else factor
        used = factor if used is None else used
        account.read("frame time", f"{value * used:.6g} s ({name})")
        if name == "EXPTIME":
            account.assume("EXPTIME is taken as the frame time: the transfer is not in it")
        return value * used
    return float("nan")


def frames_of(
    time: Floats, frame: Rows | None, clock: Clock, account: Account
) -> tuple[Ints, float]:
    """Number of the readout that each event comes from, and the frame time.

    Parameters
    ----------
    time : ndarray, shape (m,)
        s, in order.
    frame : ndarray of int, shape (m,), or None
        Numbers that the list has itself.
    clock : Clock
    account : Account

    Returns
    -------
    number : ndarray of int64, shape (m,)
        The list's own; else counted in frame times from TSTART; else the rank of the time.
    frame_time : float
        s, nan where it is not known.
    """
    step = clock.frame_time
    if frame is not None and len(frame):
        number = frame.astype(np.int64)
        span = int(number.max() - number.min())
        if np.isnan(step) and span > 0:
            low, high = int(np.argmin(number)), int(np.argmax(number))
            fitted = float(time[high] - time[low]) / span
            # The same step has to fit all of them.
            off = time - time[low] - (number - number[low]) * fitted
            if fitted > 0 and np.abs(off).max() < fitted:
                step = float(f"{fitted:.6g}")
                account.assume(
                    f"no frame time in the header: {step:g} s, by the columns TIME and FRAME",
                    "frame time",
                )
        return number, step
    if len(time) and step > 0:
        first = time[0] - clock.phase * step
        start = first if clock.start is None else min(clock.start, time[0])
        place = (time - start) / step - clock.phase + 0.5
        if place[-1] < 1 << 40:
            return np.floor(place).astype(np.int64), step
    return np.cumsum(np.append(0, np.diff(time) > 0))[: len(time)].astype(np.int64), step


def span_without_table(path: Path, time: Floats, clock: Clock, account: Account) -> Floats:
    """Good time of a list that has no table of it, shape (1, 2).

    Raises
    ------
    InputError
        Neither TSTART and TSTOP nor any event tells a time.
    """
    if clock.start is not None and clock.stop is not None and clock.stop > clock.start:
        account.assume("no GTI: the good time is taken from TSTART to TSTOP", "good time")
        return np.array([[clock.start, clock.stop]])
    known = time[np.isfinite(time)]
    if len(known) == 0:
        raise InputError.expected(path, "good times: a GTI, or TSTART and TSTOP", "neither")
    account.assume(
        "no GTI, no TSTART and TSTOP: the good time is taken to last from the first event to the "
        "last",
        "good time",
    )
    half = 0.0 if np.isnan(clock.frame_time) else clock.frame_time / 2
    return np.array([[known[0] - half, known[-1] + half]])


def live_time_of(header: Header, intervals: Floats, clock: Clock, account: Account) -> float:
    """Live time, s: the good time without the dead time that the header tells.

    The dead time stands in DTCOR, in LIVETIME over ONTIME or in DEADC; LIVETIME and EXPOSURE alone
    are those of the good time of the list, unless they are more than it.

    Parameters
    ----------
    header : Header
    intervals : ndarray, shape (k, 2)
        Good time, s.
    clock : Clock
    account : Account
    """
    on_time = float(np.diff(intervals, axis=1).sum())
    live, whole = number(header, "LIVETIME", "EXPOSURE"), number(header, "ONTIME")
    if live is not None and live <= 0:
        live = None
    if live is not None and clock.unit != 1 and live < 0.01 * on_time:
        live, whole = live * clock.unit, None if whole is None else whole * clock.unit
    share, card = None, ""
    for name in ("DTCOR", "LIVETIME", "DEADC"):
        value = number(header, name)
        if name == "LIVETIME":
            told = number(header, "LIVETIME")
            value = live / whole if told and live and whole and whole > 0 else None
        if value is not None and 0 < value <= 1 + DIFFERENT:
            share = min(value, 1.0)
            card = "LIVETIME / ONTIME" if name == "LIVETIME" else name
            break
    if share is None and live is not None and live <= (1 + DIFFERENT) * on_time:
        account.read("live time", f"{live:.6g} s, by the header")
        return live
    if share is None:
        share = 1.0
        if live is None:
            account.assume("no dead time in the header: all of the good time is live", "live time")
    found = on_time * share
    by = f"{on_time:.6g} s of good time" + (f" x {share:.6g} ({card})" if card else "")
    account.read("live time", f"{found:.6g} s: {by}")
    if live is not None and abs(live - found) > DIFFERENT * max(live, found):
        account.assume(
            f"the header tells {live:.6g} s of live time, the good time is {on_time:.6g} s: "
            f"{found:.6g} s are used",
            "live time",
        )
    return found
