"""Existing event lists: read, checked, and given probabilities without their frames.

What made a list threw the frames away. Left are the energy and the grade of each event, on which
a probability can be built, but no context: no distance to a track, no shape. The result says so.

A list stays its mission's. What is read here is a view of it; the file itself is kept byte for
byte (`missions.container`), and given back with our columns behind its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io.fits import Header
from numpy.typing import NDArray

from physml.exceptions import InputError

from ..core.arrays import Bools, Floats, Ints, Rows
from .account import Account
from .missions import islands
from .missions.cards import text
from .missions.clock import Clock, frames_of, live_time_of, read_clock, span_without_table
from .missions.columns import Columns
from .missions.container import Container, open_container
from .missions.energies import energies_of
from .missions.good_times import CHIPS, GoodTimes, merge_intervals, read_good_times
from .missions.grades import PATTERN_GRADE, grades_of
from .missions.instruments import UNKNOWN, Instrument, instrument_of
from .missions.quality import flagged

__all__ = ["PATTERN_GRADE", "EventList", "load_events", "merge_intervals"]

#: Bits of FLAG for events of a list: marked as bad by the mission; outside of the good time; no
#: energy. Such events count nowhere.
MISSION, OUTSIDE, NO_ENERGY = 64, 128, 256
LEFT_OUT = MISSION | OUTSIDE | NO_ENERGY
#: Charge in the outer pixels of a 5 x 5 island; a grade that no X-ray leaves. Cuts for those who
#: ask for them.
ISLAND, BAD_GRADE = 512, 1024
#: Grades of ASCA that are not counted as X-rays.
_BAD_GRADES = (1, 5, 7)
#: Positions and pulse heights, and their names in the lists of missions.
_PLACES = {
    "RAWX": ("RAWX", "CHIPX"),
    "RAWY": ("RAWY", "CHIPY"),
    **{name: (name,) for name in ("DETX", "DETY", "X", "Y", "PHA")},
}


@dataclass
class EventList:
    """An event list as it is read, in the order of time.

    Attributes
    ----------
    header : Header
        Of the EVENTS extension.
    energy : ndarray of float64, shape (m,)
        keV, nan where the list has none.
    grade : ndarray of int16, shape (m,)
        ASCA grade; 7 where the shape is none of a photon.
    pattern : ndarray of int16, shape (m,)
        EPIC-pn pattern, -1 where it is not known.
    time : ndarray of float64, shape (m,)
        s.
    frame : ndarray of int64, shape (m,)
        Number of the readout each event comes from: the list's own; else counted in frame times;
        else the rank of its time.
    flag : ndarray of int32, shape (m,)
        Bits MISSION, OUTSIDE, NO_ENERGY, ISLAND, BAD_GRADE.
    frame_time : float
        s, nan where it is not known.
    intervals : ndarray, shape (k, 2)
        Good time of any chip, s.
    live_time : float
        s.
    name : str
    container : Container
        The file as it is.
    order : ndarray of int, shape (m,), or None
        Rows of the file in the order of time; None where they are in order.
    clock : Clock
        Units of its times.
    places : dict
        Positions and pulse heights by our names.
    pi : ndarray or None
        Channels, where the list has them.
    channels : tuple of int, or None
        First and last channel.
    instrument : Instrument
    islands : bool
        Whether there are 5 x 5 islands.
    has_good_times : bool
        Whether the file has a table of good times.
    path : Path or None
    files : dict
        Input files by role.
    account : Account
        What was read, assumed and left out.
    """

    header: Header
    energy: Floats
    grade: NDArray[np.int16]
    pattern: NDArray[np.int16]
    time: Floats
    frame: Ints
    flag: NDArray[np.int32]
    frame_time: float
    intervals: Floats
    live_time: float
    name: str
    container: Container = field(repr=False)
    order: Ints | None = None
    clock: Clock = field(default_factory=Clock)
    places: dict[str, Rows] = field(default_factory=dict)
    pi: Rows | None = None
    channels: tuple[int, int] | None = None
    instrument: Instrument = UNKNOWN
    islands: bool = False
    has_good_times: bool = True
    path: Path | None = None
    files: dict[str, Path] = field(default_factory=dict)
    account: Account = field(default_factory=Account)

    def __len__(self) -> int:
        """Number of events."""
        return len(self.energy)

    def remark(self, words: str) -> None:
        """Note something that the user should know."""
        self.account.assume(words)

    @property
    def remarks(self) -> list[str]:
        """Assumptions and losses."""
        return self.account.remarks

    def column(self, *names: str) -> Rows | None:
        """First of some positions or pulse heights by our names; None where there is none."""
        return next((self.places[n] for n in names if n in self.places), None)

    @property
    def names(self) -> list[str]:
        """Names of the columns of the file."""
        header = self.container.header
        return [text(header, f"TTYPE{k}") for k in range(1, int(header.get("TFIELDS", 0)) + 1)]


def load_events(path: str | Path, *, channel: float | None = None) -> EventList:
    """Read and check an event list.

    Parameters
    ----------
    path : path
        FITS file with an extension EVENTS: TIME; GRADE, PATTERN, PAT_TYP or TYPE; and ENERGY, PI
        or SIGNAL. Which grades and channels they are is told by TELESCOP and INSTRUME, in which
        unit by TUNIT.
    channel : float, optional
        Width of a PI channel, keV, with channel 0 beginning at 0; known for common instruments.

    Raises
    ------
    InputError
        A column is missing, events are doubled, energies are not in keV or the unit that the file
        tells, or good times cannot be read.
    """
    source = Path(path)
    container = open_container(source)
    account = Account(source.name)
    with container.open() as hdus:
        columns = Columns(source, hdus[container.at])
        return _read(source, container, columns, hdus, account, channel)


def _read(
    path: Path,
    container: Container,
    columns: Columns,
    hdus: list[object],
    account: Account,
    channel: float | None,
) -> EventList:
    header = container.header
    instrument = instrument_of(header)
    told = [text(header, "TELESCOP"), text(header, "INSTRUME"), text(header, "DATAMODE")]
    account.read("instrument", " ".join(filter(None, told)) or "not told")
    clock = _clock(path, header, columns, account)
    time = _times(path, columns, clock, account)
    name = text(header, "EXTNAME")
    account.read("events", f"{len(time)} in {name or 'a table'}")
    others = [text(h, "EXTNAME") for k, h in enumerate(container.headers) if k != container.at]
    if name in others:
        account.leave_out(f"other tables {name} of the file are kept, but not read", "events")
    found = energies_of(path, columns.described, instrument, account, channel)
    grade, pattern = grades_of(path, columns.get, instrument, account)
    _check_doubled(path, columns, time, found.energy)
    chips = columns.get(*CHIPS)
    chips = chips if chips is not None and chips.dtype.kind in "ui" else None
    good = read_good_times(path, hdus, chips, clock.unit)
    intervals = _intervals(path, good, time, clock, account)
    known = np.isfinite(time)
    frame, step = np.full(len(time), -1, np.int64), clock.frame_time
    own = columns.get("FRAME")
    own = own[known] if own is not None and own.dtype.kind in "ui" else None
    frame[known], step = frames_of(time[known], own, clock, account)
    pi = columns.get("PI")
    made = EventList(
        header, found.energy, grade, pattern, time, frame, np.zeros(len(time), np.int32), step,
        intervals, live_time_of(header, intervals, clock, account), path.name, container,
        order=columns.order, clock=clock, places=_places(columns), pi=pi, channels=found.channels,
        instrument=instrument, has_good_times=bool(good), path=path, files={"events": path},
        account=account,
    )  # fmt: skip
    _flag(made, columns, good, chips)
    return made


def _clock(path: Path, header: Header, columns: Columns, account: Account) -> Clock:
    if "TIME" not in columns:
        raise InputError.expected(path, "a column TIME", f"only {', '.join(columns.names)}")
    return read_clock(path, header, columns.unit("TIME"), account)


def _times(path: Path, columns: Columns, clock: Clock, account: Account) -> Floats:
    """Times, s, in order: a list that is not in order is put into it."""
    values = columns.get("TIME")
    assert values is not None
    time = values.astype(np.float64) * clock.column
    known = np.isfinite(time)
    if len(time) and not known.any():
        raise InputError.expected(path, "finite times", f"{int((~known).sum())} others")
    steps = np.diff(time[known])
    if (steps < 0).any() or not known.all():
        columns.order = np.argsort(time, kind="stable")  # unknown ones come last
        time = time[columns.order]
        if (steps < 0).any():
            account.assume(
                f"events are not in order of TIME ({int((steps < 0).sum())} steps back): they are "
                "sorted",
                "order",
            )
    return time


def _intervals(path: Path, good: GoodTimes, time: Floats, clock: Clock, account: Account) -> Floats:
    if not good:
        return span_without_table(path, time, clock, account)
    union = good.union
    seconds = float(np.diff(union, axis=1).sum())
    account.read("good time", f"{seconds:.6g} s ({', '.join(dict.fromkeys(good.names))})")
    each = [float(np.diff(v, axis=1).sum()) for v in good.of_chip.values()]
    if each and max(each) - min(each) > 1e-6 * max(each):
        account.assume(
            f"good times differ from chip to chip ({min(each):.6g} to {max(each):.6g} s): events "
            "count in those of their chip, the exposure is that of all of them together",
            "good time",
        )
    if len(union) == 0:
        start = clock.start if clock.start is not None else float(np.nan_to_num(time[:1].sum()))
        account.assume("the good time intervals are empty: no event counts", "good time")
        return np.array([[start, start]])
    return union


def _places(columns: Columns) -> dict[str, Rows]:
    found = {name: columns.get(*names) for name, names in _PLACES.items()}
    return {name: values for name, values in found.items() if values is not None}


def _check_doubled(path: Path, columns: Columns, time: Floats, energy: Floats) -> None:
    """Refuse lists in which an event occurs twice; several events of one frame share their time."""
    keys = [time, energy]
    for names in (("RAWX", "CHIPX"), ("RAWY", "CHIPY"), ("X",), ("Y",), CHIPS):
        column = columns.get(*names)
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


def _flag(events: EventList, columns: Columns, good: GoodTimes, chips: Rows | None) -> None:
    """Flag the events that do not count, and those that a cut may take."""
    n, account = len(events), events.account
    bad, words = flagged(columns.get, events.header, events.instrument, n)
    _note(account, bad, n, f"are marked as bad by the mission ({words})")
    inside = good.hold(events.time, chips) if good else _within(events)
    _note(account, ~inside, n, "lie outside of the good time intervals")
    unknown = ~np.isfinite(events.energy)
    row = np.flatnonzero(unknown) if events.order is None else np.sort(events.order[unknown])
    shown = ", ".join(str(k + 1) for k in row[:5]) + (", ..." if len(row) > 5 else "")
    reason = f"have no energy (NaN, TNULL, or outside of TLMIN to TLMAX), in row {shown}"
    _note(account, unknown, n, reason)
    events.flag |= np.where(bad, MISSION, 0).astype(np.int32)
    events.flag |= np.where(inside, 0, OUTSIDE).astype(np.int32)
    events.flag |= np.where(unknown, NO_ENERGY, 0).astype(np.int32)
    events.flag |= np.where(np.isin(events.grade, _BAD_GRADES), BAD_GRADE, 0).astype(np.int32)
    outer = islands.outer_charge(columns.get("PHAS"), events.header)
    if outer is not None:
        events.islands = True
        events.flag |= np.where(outer, ISLAND, 0).astype(np.int32)
        account.read(
            "islands",
            f"5 x 5; {int(outer.sum())} events with charge in the outer pixels have FLAG bit "
            f"{ISLAND}, and are kept unless the cut vfaint is asked for",
        )
        _warn_of_sources(events)


def _within(events: EventList) -> Bools:
    first, last = events.intervals[0, 0], events.intervals[-1, 1]
    with np.errstate(invalid="ignore"):
        return np.asarray((events.time >= first) & (events.time <= last))


def _note(account: Account, chosen: Bools, n: int, words: str) -> None:
    if chosen.any():
        account.leave_out(f"{int(chosen.sum())} of {n} events {words}: they do not count", "events")


def _warn_of_sources(events: EventList) -> None:
    """Say where a source is so bright that its own photons fill the outer pixels."""
    x, y = events.places.get("X"), events.places.get("Y")
    if x is None or y is None or not events.frame_time > 0:
        return
    counted = (events.flag & LEFT_OUT) == 0
    frames = events.live_time / events.frame_time
    most = islands.brightest_cell(
        x[counted].astype(np.float64), y[counted].astype(np.float64), frames
    )
    if most > islands.BRIGHT:
        events.remark(
            f"the brightest source has {most:.2g} events a frame in {islands.CELL:g} x "
            f"{islands.CELL:g} pixels: its photons pile up, and a cut by the outer pixels of "
            "islands takes X-rays of it"
        )
