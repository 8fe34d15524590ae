"""Times that a file tells of its frames: cards of a FITS header, attributes of an HDF5 file.

The same quantity goes by many names. Those that are known here:

======================================  ==========================================================
frame time, from one frame to the next  `CYCLE`; FRAMERATE, in Hz
exposure of one frame                   `EXPOSED`
exposure, of one frame or of all        EXPOSURE, LIVETIME, ONTIME
begin and end                           TSTART, TSTOP; DATE-OBS (with TIME-OBS), DATE-BEG, MJD-OBS
======================================  ==========================================================

Units stand in TIMEUNIT (for TIMEDEL, TSTART, TSTOP), in brackets at the beginning of a card's
comment (FITS standard 4.0, section 4.3.2), or behind the number; without one they are seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .dates import start_date
from .given import Given, Work, from_headers, from_values, seconds

__all__ = ["TIMED", "Given", "Told", "epoch_cards", "from_headers", "from_values", "told_times"]

CYCLE = (*("FRAMTIME", "FRAMETIM", "FRAMETIME", "FRMTIME", "TIMEDEL", "CYCLETIME", "FRAMEPERIOD"),)
EXPOSED = (
    *("EXPTIME", "EXPOSURETIME", "COUNTTIME", "ACQTIME", "ACQUISITIONTIME"),
    *("INTTIME", "INTEGRATIONTIME", "ITIME", "TEXP"),
)
EITHER = ("EXPOSURE", "LIVETIME", "ONTIME")
#: Names that may have a unit at their end.
TIMED = (*CYCLE, *EXPOSED, *EITHER, "TSTART", "TSTOP")
#: Frame times and exposures that can be, s.
SHORTEST, LONGEST = 1e-9, 1e9
#: Relative difference of times that are the same.
SAME = 2e-3


@dataclass(frozen=True)
class Told:
    """Times of frames as a file tells them.

    Attributes
    ----------
    frame_time : float or None
        From the beginning of a frame to that of the next, s.
    live_share : float
        Share of the frame time in which the detector sees.
    origin : float or None
        Time of the beginning of frame 0, s.
    stop : float or None
        Time of the end, s.
    mjd : float or None
        MJD of the start of the observation, where the file gives a date.
    scale : str
        Time scale of that date, ``utc`` unless the file names another.
    said : tuple of (str, str)
        What was read, for the account.
    assumed : tuple of str
        Assumptions that were made.
    """

    frame_time: float | None = None
    live_share: float = 1.0
    origin: float | None = None
    stop: float | None = None
    mjd: float | None = None
    scale: str = "utc"
    said: tuple[tuple[str, str], ...] = ()
    assumed: tuple[str, ...] = ()


def told_times(
    known: Mapping[str, Given], frames: int | None = None, *, each: bool = False
) -> Told:
    """Times of frames from values by name.

    Parameters
    ----------
    known : mapping of Given
        By canonical name.
    frames : int, optional
        Number of frames that exposures of the whole belong to, where it is known.
    each : bool
        EXPOSURE is that of each frame, as programs that control cameras write it, not that of the
        whole, as OGIP has it.

    Returns
    -------
    Told
    """
    work = Work()
    unit = str(known["TIMEUNIT"].value) if "TIMEUNIT" in known else ""
    cycle = _first(known, CYCLE, unit, work)
    if cycle is None:
        cycle = _from_rate(known.get("FRAMERATE"))
    exposed = _first(known, EXPOSED, unit, work)
    if exposed is None and each:
        exposed = _first(known, EITHER[:1], unit, work)
        if exposed is not None and cycle is None:
            work.assumed.append(f"{exposed[1]} {exposed[0]:g} s is taken as that of each frame")
    either = _first(known, EITHER[1:] if each else EITHER, unit, work)
    start, stop = (seconds(known.get(name), name, unit, work) for name in ("TSTART", "TSTOP"))
    start = None if start is None or abs(start) > 1e6 * LONGEST else start
    told = Told(origin=start, stop=stop)
    told = _with_frame_time(told, cycle, exposed, either, frames, work)
    if start is not None:
        work.said.append(("start", f"{start:.15g} s (TSTART)"))
    date = start_date(known, work)
    if date is not None:
        told = replace(told, mjd=date[0], scale=date[1])
    return replace(told, said=tuple(work.said), assumed=tuple(work.assumed))


def _from_rate(given: Given | None) -> tuple[float, str] | None:
    """Frame time by a number of frames a second."""
    if given is None or isinstance(given.value, bool | str):
        return None
    if given.unit.lower() not in ("", "hz", "1/s", "s-1", "fps"):
        return None
    if not SHORTEST < 1 / max(float(given.value), SHORTEST) < LONGEST:
        return None
    return 1 / float(given.value), given.name


def _with_frame_time(
    told: Told,
    cycle: tuple[float, str] | None,
    exposed: tuple[float, str] | None,
    either: tuple[float, str] | None,
    frames: int | None,
    work: Work,
) -> Told:
    """Weigh what may be a frame time, the exposure of a frame, or that of all frames."""
    span = None
    if told.origin is not None and told.stop is not None and told.stop > told.origin and frames:
        span = (told.stop - told.origin) / frames
    if cycle is None and exposed is None and either is not None:
        total, name = either
        if frames and (span is None or not _same(total, span)):
            each = total / frames
            work.said.append(("frame time", f"{each:.6g} s ({name} over {frames} frames)"))
            if frames > 1:
                work.assumed.append(
                    f"{name} {total:g} s is taken as that of all {frames} frames, {each:.4g} s each"
                )
            return replace(told, frame_time=each)
        exposed, either = either, None
    if cycle is None and exposed is None:
        if span is None:
            return told
        work.said.append(("frame time", f"{span:.6g} s (TSTOP - TSTART over {frames} frames)"))
        work.assumed.append(
            f"no frame time in the file: {span:.6g} s, TSTOP - TSTART shared out over its frames"
        )
        return replace(told, frame_time=span)
    if cycle is None:
        assert exposed is not None
        work.said.append(("frame time", f"{exposed[0]:.6g} s ({exposed[1]})"))
        told = replace(told, frame_time=exposed[0])
    else:
        work.said.append(("frame time", f"{cycle[0]:.6g} s ({cycle[1]})"))
        told = replace(told, frame_time=cycle[0])
        if exposed is not None:
            told = _with_share(told, exposed, frames, work)
    if either is not None:
        told = _with_total(told, either, frames, work)
    return told


def _with_share(told: Told, exposed: tuple[float, str], frames: int | None, work: Work) -> Told:
    """Share of the frame time that is exposed."""
    step = told.frame_time or 1.0
    if _same(exposed[0], step) or (frames and _same(exposed[0], frames * step)):
        return told
    if exposed[0] > step:
        work.assumed.append(
            f"{exposed[1]} {exposed[0]:g} s is more than the frame time of {step:g} s: not used"
        )
        return told
    work.said.append(("exposure of a frame", f"{exposed[0]:.6g} s ({exposed[1]})"))
    return replace(told, live_share=exposed[0] / step)


def _with_total(told: Told, either: tuple[float, str], frames: int | None, work: Work) -> Told:
    """Live time of the whole, or of a frame, where the frame time is known beside it."""
    step, (value, name) = told.frame_time or 1.0, either
    if _same(value, step) or frames is None:
        return told
    if value <= step * (1 + SAME):
        return _with_share(told, either, frames, work)
    share = value / (frames * step)
    if share > 1 + SAME:
        work.assumed.append(
            f"{name} {value:g} s is more than {frames} frames of {step:g} s: not used"
        )
        return told
    if share > 1 - SAME or told.live_share < 1:
        return told
    work.said.append(("live time", f"{value:.6g} s ({name})"))
    return replace(told, live_share=share)


def _same(a: float, b: float) -> bool:
    return abs(a / b - 1) < SAME


def _first(
    known: Mapping[str, Given], names: Iterable[str], timeunit: str, work: Work
) -> tuple[float, str] | None:
    """First of some times that is a positive number, s, and its name in the file."""
    found: list[tuple[float, str]] = []
    for name in names:
        value = seconds(known.get(name), name, timeunit, work)
        if value is None:
            continue
        if SHORTEST < value < LONGEST:
            found.append((value, known[name].name))
        else:
            work.assumed.append(f"{known[name].name} = {known[name].value} is no time: not used")
    if not found:
        return None
    for value, name in found[1:]:
        if not _same(value, found[0][0]):
            work.assumed.append(f"{found[0][1]} {found[0][0]:g} s is used, not {name} {value:g} s")
    return found[0]


def epoch_cards(told: Told, header: Mapping[str, Any]) -> dict[str, Any]:
    """Cards MJDREFI, MJDREFF and TIMESYS that make TIME 0 agree with the date of the file.

    Empty where the header has a reference of its own, or the file tells no date.

    Parameters
    ----------
    told : Told
    header : mapping
        Header of the input.
    """
    if told.mjd is None or any(str(header.get(name, "")).strip() for name in ("MJDREF", "MJDREFI")):
        return {}
    # A start of its own, in seconds, counts from a day that is not told: so the date is that of it.
    zero = told.mjd - (told.origin or 0.0) / 86400.0
    whole = int(np.floor(zero))
    return {
        "MJDREFI": whole,
        # To a microsecond: a double of 5 digits before the point holds no more.
        "MJDREFF": round(zero - whole, 11),
        "TIMESYS": told.scale.upper(),
    }
