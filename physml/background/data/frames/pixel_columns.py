"""Columns of tables of pixels: which holds the frame, the place and the signal.

Such tables are written by SIXTE (raw data: TIME, FRAME, PHA, SIGNAL, RAWX, RAWY), by cameras like
those of eROSITA and EPIC-pn before events are put together, and by laboratories. An event list has
columns that look the same, and one more: the grade or pattern of each event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from physml.exceptions import InputError

from .fits_columns import Column, columns_of
from .fits_file import Extension, FitsFile

#: Names that columns go by, in order of preference.
FRAME = (
    *("FRAME", "FRAMENO", "FRAMENR", "FRAMEID", "FRAMECNT", "NFRAME"),
    *("FRAME_NO", "FRAME_NR", "FRAME_ID", "FRAME_NUMBER"),
)
X = ("RAWX", "RAW_X", "CHIPX", "COL", "COLUMN", "PIXX", "PIXEL_X", "XPIX", "X")
Y = ("RAWY", "RAW_Y", "CHIPY", "ROW", "LINE", "PIXY", "PIXEL_Y", "YPIX", "Y")
SIGNAL = ("ENERGY", "SIGNAL", "E", "PHA", "ADU", "CHARGE", "RAWPHA", "PI", "AMPL", "COUNTS", "TOT")
RAW_SIGNAL = ("PHA", "ADU", "RAWPHA", "AMPL", "COUNTS", "TOT", "CHARGE")
#: Columns that only an event list has: the shape of an event.
OF_EVENTS = (
    *("GRADE", "PATTERN", "PAT_TYP", "PAT_INF", "FLTGRADE", "TYPE", "PIXNUM", "NPIXELS"),
    *("EVTPHA", "PHAS", "PHASE", "P_BKG", "PATTERN_ID", "GRADEID", "ASCA_GRADE", "NUMPIX"),
)
ROLES = ("frame", "x", "y", "signal")


def parse_columns(given: Any) -> dict[str, str]:
    """Columns by role, from ``frame=F,x=X,y=Y,signal=S`` or a mapping.

    Raises
    ------
    InputError
        Another role, or no name.
    """
    if given is None:
        return {}
    if isinstance(given, str):
        parts = [p.partition("=") for p in given.split(",") if p.strip()]
        given = {role.strip(): name.strip() for role, _, name in parts}
    if not isinstance(given, Mapping):
        raise InputError.expected("columns=", "frame=F,x=X,y=Y,signal=S", repr(given))
    out = {"signal" if k == "energy" else str(k): str(v) for k, v in given.items()}
    wrong = [k for k, v in out.items() if k not in ROLES or not v]
    if wrong or not out:
        raise InputError.expected(
            "columns=", "frame=F,x=X,y=Y,signal=S (any of them)", repr(dict(given))
        )
    return out


def pixel_columns(
    file: FitsFile, extension: Extension, chosen: Mapping[str, str], raw: bool = False
) -> dict[str, Column] | None:
    """Columns of a table of pixels by role; None where the table is none.

    Parameters
    ----------
    file : FitsFile
    extension : Extension
    chosen : mapping
        Columns by role that the user names.
    raw : bool
        Whether a gain is given, so that raw values are wanted rather than energies.
    """
    names = {n.upper() for n in extension.columns}
    if names & set(OF_EVENTS) and not chosen:
        return None
    known = columns_of(file.path, extension)
    by_name = {n.upper(): c for n, c in known.items()}
    signals = (*RAW_SIGNAL, *SIGNAL) if raw else SIGNAL
    found: dict[str, Column] = {}
    for role, usual in (("frame", FRAME), ("x", X), ("y", Y), ("signal", signals)):
        if role in chosen:
            column = by_name.get(chosen[role].upper())
            if column is None:
                return None
        else:
            column = next((by_name[n] for n in usual if n in by_name), None)
        if column is not None:
            found[role] = column
    frame = found.get("frame")
    if frame is not None and not frame.whole:
        found["time"] = found.pop("frame")
    elif "TIME" in by_name:
        # Without frames, a table of pixels of a chip; one of places on the sky is an event list.
        role = "clock" if frame is not None else "time"
        if frame is not None or (found.get("x") and not {"X", "Y"} & names):
            found[role] = by_name["TIME"]
    return found if {"x", "y", "signal"} <= set(found) and {"frame", "time"} & set(found) else None


def find_pixels(
    file: FitsFile, chosen: Mapping[str, str], raw: bool = False
) -> tuple[Extension, dict[str, Column]] | None:
    """First table of pixels of a file, and its columns by role; None where there is none."""
    for extension in file.tables:
        columns = pixel_columns(file, extension, chosen, raw)
        if columns is not None:
            return extension, columns
    return None


def looks_like_events(extension: Extension) -> bool:
    """Whether a table holds events: it has their times, and their grades or their energies."""
    names = {n.upper() for n in extension.columns}
    if names & set(OF_EVENTS):
        return bool(names & {"TIME", *SIGNAL})
    frames = names & set(FRAME) and names & set(X) and names & set(Y)
    return extension.name == "EVENTS" and "TIME" in names and not frames
