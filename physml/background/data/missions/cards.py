"""Cards of FITS headers as missions write them: numbers as text, blanks, units in comments."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io.fits import Header

#: Units that are written otherwise than the standard has them.
_SPELLINGS = {
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("msec", "millisec", "milliseconds"), "ms"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("hr", "hour", "hours"), "h"),
}
_BRACKET = re.compile(r"^\s*\[\s*([^\s\]]+)\s*\]")


def number(header: Header, *names: str) -> float | None:
    """First card of some names that is a finite number, or a text of one; None without any."""
    for name in names:
        value = header.get(name)
        if isinstance(value, str):
            try:
                # Fortran writes exponents with a D.
                value = float(value.strip().upper().replace("D", "E"))
            except ValueError:
                continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if np.isfinite(value):
            return float(value)
    return None


def text(header: Header, name: str) -> str:
    """Text of a card without blanks around it; an empty one without the card."""
    value = header.get(name)
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, bool | int | float) else ""


def truth(header: Header, name: str) -> bool | None:
    """Truth value of a card, also where it is written as a text; None where it tells none."""
    value = header.get(name)
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, str):
        word = value.strip().upper()
        if word in ("T", "TRUE", "Y", "YES", "1"):
            return True
        return False if word in ("F", "FALSE", "N", "NO", "0") else None
    return bool(value) if isinstance(value, int | float) else None


def seconds(unit: Any) -> float | None:
    """Seconds in a unit of time; None where it is none. An empty one is a second."""
    word = str(unit or "").strip()
    if not word:
        return 1.0
    try:
        found = u.Unit(_SPELLINGS.get(word.lower(), word))
        return float(found.to(u.s))
    except (ValueError, TypeError, ArithmeticError):  # astropy's parser of units
        return None


def comment_unit(header: Header, name: str) -> str:
    """Unit in brackets at the beginning of a card's comment; an empty text without one."""
    found = _BRACKET.match(str(header.comments[name])) if name in header else None
    return found[1] if found else ""
