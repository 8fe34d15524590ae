"""File of an event list that existed: the mission's own, with our columns and cards added.

All other extensions go through byte for byte, and so do the rows and cards of the events. Changed
are only the cards that would be wrong: those of the layout, live times that contradict the good
times, and texts where a number or a truth value belongs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header
from astropy.io.fits.card import Undefined

from physml import provenance as prov
from physml.io.atomic import atomic_path

from ..data.event_list import EventList
from ..data.missions.cards import number, text, truth
from ..data.missions.clock import DIFFERENT
from .event_rows import LIST_FLAGS
from .list_columns import gained, list_chunks, list_header, list_type
from .model_cards import model_cards
from .ogip import Cards, add_words, encode_checksum, gti_table, keywords, stream_table
from .result import BackgroundResult

#: Live times that are corrected where they contradict the good times.
_LIVE = ("ONTIME", "LIVETIME", "EXPOSURE")
#: Cards of time, in the unit of TIMEUNIT, and of the date of TIME 0.
_TIMES, _DATES = ("TSTART", "TSTOP", "TELAPSE", "TIMEZERO"), ("DATE-OBS", "DATE-END")
_EPOCH = ("MJDREFI", "MJDREFF", *_DATES)
#: Said of frames, or of a sky that the list may not have.
_NOT_OURS = ("RADECSYS", "EQUINOX", "TIMEUNIT", "DEADC")


def write_list(
    path: Path,
    result: BackgroundResult,
    events: EventList,
    shared: Cards,
    provenance: Mapping[str, Any],
) -> None:
    """Write an event list with our columns.

    Parameters
    ----------
    path : Path
        Where to.
    result : BackgroundResult
    events : EventList
        The list that it was made from.
    shared : dict
        Mandatory keywords of the observation.
    provenance : mapping
        Run record.
    """
    header = list_header(events)
    _complete(header, events, shared, result)
    _describe(header, result, events, provenance)
    made = [prov.fits_table(provenance)]
    if not events.has_good_times:
        made.insert(0, _good_times(events, shared))
    record = (prov.FITS_EXTENSION,)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        for part in events.container.others(before=True, without=record):
            file.write(_as_it_was(events, *part))
        stream_table(
            file,
            header,
            list_type(events),
            lambda: list_chunks(events, result.store),
            events.container.heap,
        )
        for part in events.container.others(before=False, without=record):
            file.write(_as_it_was(events, *part))
        file.write(_extensions(made))


def _as_it_was(events: EventList, header: Header, head: bytes, data: bytes) -> bytes:
    """Extension byte for byte; sums that are left blank or wrong, at which readers stop, are made.

    The FITS standard (4.0, section 4.4.2.7): all words of an extension sum up to minus zero.
    """
    told = [k for k in ("CHECKSUM", "DATASUM") if k in header]
    datasum = add_words(0, data)
    wrong = "DATASUM" in told and text(header, "DATASUM") != str(datasum)
    wrong |= "CHECKSUM" in told and add_words(add_words(0, head), data) != 0xFFFFFFFF
    if not wrong:
        return head + data
    if all(text(header, k) for k in told):
        name = text(header, "EXTNAME") or "the primary header"
        events.remark(f"the checksum of {name} does not agree with its bytes: it is made anew")
    made = header.copy()
    made["CHECKSUM"], made["DATASUM"] = "0" * 16, str(datasum)
    made["CHECKSUM"] = encode_checksum(add_words(datasum, made.tostring().encode("ascii")))
    return made.tostring().encode("ascii") + data


def _extensions(hdus: list[Any]) -> bytes:
    """Bytes of extensions, without a primary header before them."""
    import io

    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(buffer, checksum=True)
    raw = buffer.getvalue()
    return raw[raw.index(b"XTENSION") :]


def _good_times(events: EventList, shared: Cards) -> Any:
    """Table of the good time in the unit of the list's column TIME."""
    table = gti_table(events.intervals / events.clock.column, shared)
    if events.clock.column != 1:
        for name in ("START", "STOP"):
            table.columns.change_unit(name, _column_unit(events))
    return table


def _column_unit(events: EventList) -> str:
    header = events.container.header
    names = [name.upper() for name in events.names]
    return str(header.get(f"TUNIT{names.index('TIME') + 1}", header.get("TIMEUNIT", "s")))


def _complete(header: Header, events: EventList, shared: Cards, result: BackgroundResult) -> None:
    """Add the mandatory cards that are missing, and correct those that cannot stand."""
    unit, clock = events.clock.unit, events.clock
    if clock.start is not None and clock.stop is not None:
        # From its own TSTART to TSTOP, which may reach beyond the good times.
        whole = keywords(
            events.header, "", np.array([[clock.start, clock.stop]]), 0.0, result.start
        )
        shared = {**shared, **{name: whole[name] for name in ("TELAPSE", *_DATES)}}
    given_start = result.start is not None
    for name, (value, comment) in shared.items():
        told = value / unit if name in _TIMES and unit != 1 else value
        if given_start and name in (*_EPOCH, "TIMESYS"):
            header[name] = (told, comment)
        elif name in _LIVE:
            _correct(header, name, float(value), comment, unit)
        elif not _has(header, name) and name not in _NOT_OURS:
            header[name] = (told, comment)
    if given_start and _has(header, "MJDREF"):
        header["MJDREF"] = shared["MJDREFI"][0] + shared["MJDREFF"][0]
    _mend(header, events)
    if np.isfinite(events.frame_time) and not _has(header, "TIMEDEL"):
        header["TIMEDEL"] = (events.frame_time / unit, "frame time")
    for name, value, comment in (
        ("HDUCLASS", "OGIP", "format of the file"),
        ("HDUCLAS1", "EVENTS", "an event list"),
        ("HDUCLAS2", "ALL", "good ones (WEIGHT > 0) and others"),
        ("HDUVERS", "1.2.0", "version of that format"),
        ("DEADC", shared["DEADC"][0], "dead time correction"),
        ("TIMEUNIT", "s", "unit of times"),
    ):
        if not _has(header, name):
            header[name] = (value, comment)


def _has(header: Header, name: str) -> bool:
    """Whether a card tells anything."""
    value = header.get(name)
    return not (value is None or isinstance(value, Undefined) or value == "")


def _correct(header: Header, name: str, value: float, comment: str, unit: float) -> None:
    """Replace a live time that is another one than that of the good times."""
    told = number(header, name)
    if told is not None:
        near = (told, told * unit)
        if any(abs(t - value) <= DIFFERENT * max(abs(t), abs(value)) for t in near):
            return
        comment = f"{comment}; was {told:.9g}"
    header[name] = (value, comment)


def _mend(header: Header, events: EventList) -> None:
    """Write numbers, truth values and units as such where a text stands for one."""
    for name in ("MJDREF", "MJDREFI", "MJDREFF", "TIMEZERO", "TSTART", "TSTOP", "TIMEDEL"):
        value = number(header, name)
        if isinstance(header.get(name), str) and value is not None:
            header[name] = int(value) if name == "MJDREFI" else value
    if isinstance(header.get("CLOCKAPP"), str):
        told = truth(header, "CLOCKAPP")
        if told is not None:
            header["CLOCKAPP"] = told
    for k in range(1, len(events.names) + 1):
        word = str(header.get(f"TUNIT{k}", "")).strip()
        right = {"kev": "keV", "ev": "eV"}.get(word.lower(), word)
        if right != word:  # readers that know the standard's units only stop at others
            header[f"TUNIT{k}"] = right


def _describe(
    header: Header, result: BackgroundResult, events: EventList, record: Mapping[str, Any]
) -> None:
    """Say what was added and by whom; the mission's CREATOR, DATE and ORIGIN stay."""
    for name, value, comment in prov.fits_cards(record):
        if name.startswith("PHYS") or not _has(header, name):
            header[name] = (value, comment)
    for name, value, comment in model_cards(result):
        header[name] = (value, comment)
    if not _has(header, "ORIGIN"):
        header["ORIGIN"] = ("physml", "where this file was made")
    names = gained(events)
    header.add_comment(f"physml added: {', '.join(names.values())}")
    for bit, words in LIST_FLAGS.items():
        header.add_comment(f"{names['FLAG']} bit {bit}: {words}")
    for words in result.remarks:
        header.add_history("physml: " + words.encode("ascii", "replace").decode())
