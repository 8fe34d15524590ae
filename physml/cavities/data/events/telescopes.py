"""Properties of telescopes: channels, chips, quality of events, size of a pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]
#: Keeps the good events of a block of rows; columns are looked up by name, None where absent.
Quality = Callable[[Callable[[str], Rows | None]], Rows | None]

_ACIS_GRADES = (0, 2, 3, 4, 6)
#: Flags of eROSITA's events that mean trouble: the mask of its user manual.
_EROSITA_FLAGS = 0xC00FFF30


@dataclass(frozen=True)
class Telescope:
    """A camera.

    Attributes
    ----------
    channel : tuple of float, or None
        Width of a PI channel and energy at the lower edge of channel 0 [eV].
    pixel : float or None
        Size of a pixel of the image [arcsec]; None for that of the event list.
    quality : callable or None
    words : str
        What `quality` keeps, for the remark.
    """

    channel: tuple[float, float] | None = None
    pixel: float | None = None
    quality: Quality | None = None
    words: str = ""


def _acis(column: Callable[[str], Rows | None]) -> Rows | None:
    grade = column("GRADE")
    return None if grade is None else np.isin(grade, _ACIS_GRADES)


def _acis_level1(column: Callable[[str], Rows | None]) -> Rows | None:
    good, status = _acis(column), column("STATUS")
    if status is None:
        return good
    # One column of truth values for each bit, or the bits in one number.
    clean: Rows = np.asarray(~status.any(axis=1) if status.ndim == 2 else status == 0)
    return clean if good is None else good & clean


def _epic(highest: int) -> Quality:
    def quality(column: Callable[[str], Rows | None]) -> Rows | None:
        pattern, flag = column("PATTERN"), column("FLAG")
        good: Rows | None = None
        if pattern is not None:
            good = np.asarray((pattern >= 0) & (pattern <= highest))
        if flag is None:
            return good
        clean = np.asarray(flag == 0)
        return clean if good is None else good & clean

    return quality


def _erosita(column: Callable[[str], Rows | None]) -> Rows | None:
    pattern, flag = column("PATTERN"), column("FLAG")
    good = None if pattern is None else (pattern >= 1) & (pattern <= 15)
    if flag is None:
        return good
    clean = (flag.astype(np.int64) & _EROSITA_FLAGS) == 0
    return clean if good is None else good & clean


_MOS = Telescope((1.0, 0.0), 4.0, _epic(12), "PATTERN <= 12 and FLAG 0")
_PN = Telescope((1.0, 0.0), 4.0, _epic(4), "PATTERN <= 4 and FLAG 0")
_EROSITA = Telescope((1.0, 0.0), 4.0, _erosita, "PATTERN 1 to 15 and no flag of trouble")
_ACIS_1 = Telescope((14.6, -14.6), None, _acis_level1, "GRADE 0, 2, 3, 4, 6 and STATUS 0")
_ACIS_2 = Telescope((14.6, -14.6), None, _acis, "GRADE 0, 2, 3, 4, 6")
#: By the beginning of TELESCOP and INSTRUME.
_TELESCOPES = (
    ("XMM", "EMOS", _MOS),
    ("XMM", "EPN", _PN),
    ("EROSITA", "", _EROSITA),
    ("SRG", "EROSITA", _EROSITA),
    ("SWIFT", "XRT", Telescope((10.0, 0.0))),
    ("SUZAKU", "XIS", Telescope((3.65, 0.0))),
    ("XRISM", "XTEND", Telescope((6.0, 0.0))),
    ("NUSTAR", "", Telescope((40.0, 1600.0))),
    ("ROSAT", "PSPC", Telescope((10.0, 0.0), 15.0)),
    ("CHANDRA", "HRC", Telescope(None, 0.5)),
)


def telescope_of(header: Any) -> Telescope:
    """Camera of an event list, by its header; one without ways of its own where it is unknown."""
    name, camera = (str(header.get(card, "")).strip().upper() for card in ("TELESCOP", "INSTRUME"))
    if name.startswith("CHANDRA") and not camera.startswith("HRC"):
        # Level 2 was cleaned; of level 1 the STATUS bits say what is wrong.
        return _ACIS_1 if str(header.get("CONTENT", "")).strip().upper() == "EVT1" else _ACIS_2
    for beginning, instrument, telescope in _TELESCOPES:
        if name.startswith(beginning) and camera.startswith(instrument):
            return telescope
    return Telescope()
