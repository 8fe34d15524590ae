"""Energies of events, by the column ENERGY or the channels PI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from .reading import EventFile
from .selection import BAND
from .telescopes import Telescope

_UNITS = {"ev": 1.0, "kev": 1e3, "mev": 1e6}
#: A median beyond it is in eV, not in keV: no X-ray camera sees such energies [keV].
_NOT_KEV = 100.0


@dataclass(frozen=True)
class Energies:
    """How energies are read, and the band.

    Attributes
    ----------
    column : str
    factor, offset : float
        Energy [eV] = factor * value + offset.
    band : tuple of float
        Lowest and highest energy [eV]; both count.
    assumed : str
        What the file does not say; nothing where it says all.
    """

    column: str
    factor: float
    offset: float
    band: tuple[float, float]
    assumed: str = ""

    @property
    def words(self) -> str:
        """Band in words."""
        return f"of {self.band[0] / 1e3:g} to {self.band[1] / 1e3:g} keV"

    def in_band(
        self, column: Callable[[str], NDArray[Any] | None], keep: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Whether those events that are kept lie in the band."""
        values = column(self.column)
        assert values is not None
        energy = self.factor * values[keep].astype(np.float64) + self.offset
        with np.errstate(invalid="ignore"):
            return np.asarray((energy >= self.band[0]) & (energy <= self.band[1]))


def energies_of(
    events: EventFile, telescope: Telescope, band: tuple[float, float] | None
) -> Energies | None:
    """Energies of a list; None where it has none and no band was asked for.

    Raises
    ------
    InputError
        A band was asked for, and the list has no energies, or channels of an unknown width.
    """
    chosen = band or BAND
    if "ENERGY" in events.columns:
        unit = events.unit("ENERGY").lower()
        if unit and unit not in _UNITS:
            raise InputError.expected(events.path, "ENERGY in eV or keV", f"the unit {unit!r}")
        factor, assumed = _UNITS.get(unit, 0.0), ""
        if not unit:
            middle = _median(events, "ENERGY")
            factor = 1.0 if middle > _NOT_KEV else 1e3
            assumed = (
                f"ENERGY has no unit: taken as {'eV' if factor == 1 else 'keV'} (median "
                f"{middle:.4g})"
            )
        return Energies("ENERGY", factor, 0.0, chosen, assumed)
    if "PI" in events.columns:
        unit = events.unit("PI").lower()
        if unit in _UNITS:
            return Energies("PI", _UNITS[unit], 0.0, chosen)
        if telescope.channel is not None:
            width, low = telescope.channel
            # The middle of a channel; those of 1 eV are energies themselves.
            middle = 0.0 if width == 1 else width / 2
            return Energies("PI", width, low + middle, chosen)
    if band is None:
        return None
    names = [str(events.header.get(card, "")).strip() for card in ("TELESCOP", "INSTRUME")]
    raise InputError.expected(
        events.path,
        "ENERGY, or PI of an instrument whose channels are known, for band=",
        f"{', '.join(events.columns)} of TELESCOP {names[0]!r}, INSTRUME {names[1]!r}",
        hint="Filter the list by energy first, and leave out the band.",
    )


def _median(events: EventFile, name: str) -> float:
    """Median of a column in the first block; nought where there are no events."""
    for column in events.blocks():
        values = column(name)
        if values is not None and len(values):
            return float(np.nanmedian(values.astype(np.float64)))
    return 0.0
