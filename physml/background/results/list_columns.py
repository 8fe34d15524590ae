"""Columns that an event list gains, and the rows that its products are made from."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from ..core.arrays import Rows
from ..data.event_list import EventList
from ..data.missions.container import add_columns
from .event_columns import standard_cards
from .event_rows import CHANNEL_KEV, DESCRIPTIONS, MISSING, N_CHANNELS, ROW, RowStore
from .ogip import ColumnCards, fits_format, packed_type, stream_table

#: Added only to lists that have none of the kind.
_WHERE_MISSING = ("FRAME", "ENERGY", "PI", "GRADE")
#: Added to every list, under another name where its own has that name.
_ALWAYS = ("FLAG", "P_BKG", "P_FRAME", "D_MIP", "WEIGHT")
#: Behind the name of a column of ours where the list has one of that name.
SUFFIX = "_BKG"


def list_rows(events: EventList) -> tuple[Rows, dict[str, ColumnCards]]:
    """Rows for an event list as those of frames are, with the cards of their columns.

    What the list does not tell is nan in columns of floats and -1 in those of whole numbers.
    """
    cards = standard_cards()
    rows = np.zeros(len(events), ROW)
    for name in ("TIME", "FRAME", "ENERGY", "PATTERN", "GRADE", "FLAG"):
        rows[name] = getattr(events, name.lower())
    header = events.container.header
    numbers = {name.upper(): k for k, name in enumerate(events.names, start=1)}
    for name in ("RAWX", "RAWY", "DETX", "DETY", "X", "Y", "PHA"):
        values = events.places.get(name)
        whole = ROW[name].kind in "iu"
        cards[name].low = cards[name].high = None
        if values is None:
            rows[name] = MISSING if whole else np.nan
            continue
        limits = np.iinfo(ROW[name]) if whole else None
        values = np.nan_to_num(values, nan=MISSING) if whole else values
        rows[name] = values if limits is None else np.clip(values, limits.min, limits.max)
        if name in numbers:
            cards[name].extra = {
                root: header[f"{root}{numbers[name]}"]
                for root in ("TCTYP", "TCRPX", "TCRVL", "TCDLT", "TCUNI")
                if f"{root}{numbers[name]}" in header
            }
    if events.channels is not None and events.pi is not None:
        rows["PI"] = np.clip(events.pi, -(1 << 31), (1 << 31) - 1)
    else:
        known = np.where(np.isfinite(events.energy), events.energy, 0.0)
        rows["PI"] = np.clip(known / CHANNEL_KEV, 0, N_CHANNELS - 1)
    return rows, cards


def gained(events: EventList) -> dict[str, str]:
    """Names of the columns that a list gains, by ours.

    Its own columns keep their names: where it has a FLAG of its own, ours is FLAG_BKG.
    """
    taken = {name.upper() for name in events.names}
    found = {}
    for name in (*_WHERE_MISSING, *_ALWAYS):
        if name in _WHERE_MISSING and (name in taken or not _known(events, name)):
            continue
        free, number = name, 1
        while free in taken:
            free = name + SUFFIX + (str(number) if number > 1 else "")
            number += 1
        taken.add(free)
        found[name] = free
    return found


def _known(events: EventList, name: str) -> bool:
    """Whether there is anything to tell in a column that the list lacks."""
    return name != "FRAME" or bool(np.isfinite(events.frame_time))


def list_type(events: EventList) -> np.dtype[Any]:
    """Row of the list with our columns: its own bytes, then ours."""
    own: list[Any] = [("", f"V{events.container.width}")] if events.container.width else []
    named = [("GIVEN", *o[1:]) for o in own]
    return np.dtype([*named, *((new, ROW[name]) for name, new in gained(events).items())])


def list_chunks(events: EventList, store: RowStore) -> Iterator[Rows]:
    """Rows of the list in the order of time, its own bytes and our columns, some at a time."""
    dtype, names, raw = list_type(events), gained(events), events.container.rows
    done = 0
    for rows in store.chunks():
        out = np.zeros(len(rows), dtype)
        chosen = slice(done, done + len(rows))
        if events.container.width:
            out["GIVEN"] = raw[chosen if events.order is None else events.order[chosen]]
        for name, new in names.items():
            out[new] = rows[name]
        done += len(rows)
        yield out


def list_header(events: EventList) -> fits.Header:
    """Header of the events with the cards of our columns; all else is as it was."""
    standard, columns = standard_cards(), []
    packed = packed_type(ROW)
    for name, new in gained(events).items():
        cards: dict[str, Any] = {"TTYPE": new, "TFORM": fits_format(packed[name])}
        known = standard[name]
        for key, value in (("TUNIT", known.unit), ("TLMIN", known.low), ("TLMAX", known.high)):
            if value not in (None, ""):
                cards[key] = value
        columns.append((cards, DESCRIPTIONS[name]))
    return add_columns(events.container.header, columns, list_type(events).itemsize)


def list_table(events: EventList, store: RowStore) -> Table:
    """Table of all events: our columns, then those of the list, whose names are in capitals.

    Columns of the list that hold something else under a name of ours have _IN behind it, such as a
    FLAG of the mission or an ENERGY in eV. In the file the list's own names come first.
    """
    file = io.BytesIO()
    file.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
    stream_table(
        file, list_header(events), list_type(events), lambda: list_chunks(events, store),
        events.container.heap,
    )  # fmt: skip
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units that astropy does not know are kept as texts
        own = Table.read(file, format="fits", hdu=1, mask_invalid=False)
    table = Table(store.read(), copy=False)
    for name in own.colnames[: len(events.names)]:
        upper = name.upper()
        if upper in table.colnames:
            if _same(own[name], table[upper]):
                continue
            upper += "_IN"
        if upper not in table.colnames:
            table[upper] = own[name]
    return table


def _same(own: Any, ours: Any) -> bool:
    """Whether a column of the list tells what ours does."""
    if own.ndim != 1 or own.dtype.kind not in "uif":
        return False
    near: Any = np.isclose(np.asarray(own, float), np.asarray(ours, float), equal_nan=True)
    return bool(near.all())
