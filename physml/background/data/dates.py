"""Dates of files: cards DATE-OBS and the like, in all their spellings."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from astropy.time import Time

from .given import Given, Work

STARTS = ("DATEBEG", "DATEOBS", "STARTTIME", "STARTDATE")


def start_date(known: Mapping[str, Given], work: Work) -> tuple[float, str] | None:
    """MJD of the start of the observation and its time scale."""
    scale = str(known["TIMESYS"].value).strip().lower() if "TIMESYS" in known else "utc"
    scale = {"": "utc", "tdt": "tt", "et": "tt", "iat": "tai"}.get(scale, scale)
    if scale not in Time.SCALES:
        scale = "utc"
    for name in STARTS:
        text = str(known[name].value).strip() if name in known else ""
        if not text:
            continue
        clock = known.get("TIMEOBS", known.get("UTCOBS", known.get("UTSTART")))
        if "T" not in text and ":" not in text and clock is not None and ":" in str(clock.value):
            text = f"{text}T{str(clock.value).strip()}"
        time = _instant(text, scale)
        if time is not None:
            work.said.append(("date", f"{text} ({known[name].name})"))
            return float(time.mjd), scale
        work.assumed.append(f"{known[name].name} = {text[:40]!r} is no date: not used")
    given = known.get("MJDOBS", known.get("MJDBEG"))
    if given is not None and isinstance(given.value, int | float) and 0 < given.value < 1e6:
        work.said.append(("date", f"MJD {float(given.value):.9g} ({given.name})"))
        return float(given.value), scale
    return None


def _instant(text: str, scale: str) -> Time | None:
    """Time of a date as FITS writes it, the old way (DD/MM/YY) included."""
    old = re.fullmatch(r"(\d\d)/(\d\d)/(\d\d)(T.*)?", text)
    if old:
        text = f"19{old[3]}-{old[2]}-{old[1]}{old[4] or ''}"
    text = text.removesuffix("Z").replace(" ", "T").replace("+00:00", "")
    try:
        found = Time(text, format="isot", scale=scale)
    except ValueError:
        return None
    return found if np.isfinite(found.mjd) else None
