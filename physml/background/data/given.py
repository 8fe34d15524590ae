"""Values as files give them: a name, a number or text, and the unit that stands beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from astropy.io.fits import Header
from astropy.io.fits.card import Undefined

#: Names whose unit is TIMEUNIT.
IN_TIMEUNIT = ("TIMEDEL", "TSTART", "TSTOP")
_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "usec", "\u00b5s", "\u03bcs", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nsec", "nanosecond", "nanoseconds"), 1e-9),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
_BRACKET = re.compile(r"^\s*[\[(]\s*([^\s\])]+)\s*[\])]")
_WORDS = re.compile(r"(?:\bin|\bunits?:?)\s+([^\s,;.)]+)|[\[(]\s*([^\s\])]+)\s*[\])]", re.I)
_NUMBER = re.compile(r"^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*([^\d\s.]\S*)?\s*$")
_SUFFIX = re.compile(r"^(.*?)(?:IN)?(MS|US|NS|SEC|S)$")


class Given(NamedTuple):
    """One value as a file gives it.

    Attributes
    ----------
    value : object
    unit : str
        Unit that stands beside it, or an empty text.
    name : str
        Name in the file.
    """

    value: Any
    unit: str
    name: str


@dataclass
class Work:
    """Notes while values are looked at."""

    said: list[tuple[str, str]] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)


def canonical(name: str) -> str:
    """Name without case, hyphens and underscores."""
    return re.sub(r"[^A-Z0-9]", "", name.upper())


def from_headers(headers: Iterable[Header]) -> dict[str, Given]:
    """Values of FITS headers by canonical name; the first header that has a card counts."""
    known: dict[str, Given] = {}
    for header in headers:
        for card in header.cards:
            if card.keyword in ("", "COMMENT", "HISTORY", "CONTINUE"):
                continue
            name = canonical(card.keyword)
            if name not in known and not isinstance(card.value, Undefined):
                known[name] = Given(card.value, _unit_in(str(card.comment)), card.keyword)
    return known


def from_values(values: Mapping[str, tuple[Any, str]], timed: Iterable[str]) -> dict[str, Given]:
    """Values of names as other formats have them: ``frame_time``, ``exposure_ms``.

    Parameters
    ----------
    values : mapping of (value, unit)
        By name.
    timed : iterable of str
        Canonical names that may have a unit at their end.
    """
    timed = set(timed)
    known: dict[str, Given] = {}
    for name, (value, unit) in values.items():
        plain = canonical(name)
        cut = _SUFFIX.match(plain)
        if cut and cut[1] in timed:
            plain, unit = cut[1], unit or cut[2].lower()
        known.setdefault(plain, Given(value, unit, name))
    return known


def _unit_in(comment: str) -> str:
    """Unit that a comment names: in brackets at its beginning, or in words."""
    found = _BRACKET.match(comment)
    if found:
        return found[1]
    for words in _WORDS.finditer(comment):
        unit = words[1] or words[2]
        if unit.lower() in _SECONDS:
            return unit
    return ""


def seconds(given: Given | None, name: str, timeunit: str, work: Work) -> float | None:
    """Time in seconds; None where there is none that can be read."""
    if given is None:
        return None
    value, unit = given.value, given.unit
    if isinstance(value, str):
        parts = _NUMBER.match(value)
        if parts is None:
            if value.strip():
                work.assumed.append(f"{given.name} = {value[:40]!r} is no time: not used")
            return None
        value, unit = float(parts[1]), parts[2] or unit
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        return None
    if name in IN_TIMEUNIT and timeunit.strip():
        unit = timeunit
    elif name == "FRMTIME" and not unit:
        unit = "ms"  # of XMM-Newton's event lists, whose comments are often lost
        work.assumed.append(f"{given.name} is in ms, as in files of XMM-Newton")
    factor = _SECONDS.get(unit.strip().lower()) if unit.strip() else 1.0
    if factor is None:
        work.assumed.append(
            f"{given.name} is taken to be in s: its unit {unit[:20]!r} is not known"
        )
        factor = 1.0
    return float(value) * factor
