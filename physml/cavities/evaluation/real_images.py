"""Real images with known cavities, and which of them a catalogue lists.

NGC 5813 has three generations of cavities on one axis (Randall et al. 2011, ApJ 726, 86); they were
located on the ratio of the image to a smooth elliptical model, as a person sees them, and the
outer south-western one lies outside the field. NGC 4649 has a pair at 18 arcsec, at position
angles of 20 and 200 degrees (data sheet of the image). Of Abell 1835 none is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from numpy.typing import NDArray


@dataclass(frozen=True)
class Known:
    """Known cavity.

    Attributes
    ----------
    name : str
    places : tuple of tuple of float
        Its outline as a whole, or its lobes: x, y [pixel, from 0] and radius [pixel], or distance
        from the centre [arcsec], position angle [deg] and radius [arcsec].
    polar : bool
        Which of the two.
    within : float
        Largest distance of a row's centre, in units of the radius, at which it is this cavity.
    """

    name: str
    places: tuple[tuple[float, float, float], ...]
    polar: bool = False
    within: float = 0.5

    def away(self, catalogue: Table | QTable) -> NDArray[np.float64]:
        """Distance of each row in units of the radius, from the nearest place; shape (n,)."""
        return np.min([self._away(catalogue, place) for place in self.places], axis=0)

    def _away(
        self, catalogue: Table | QTable, place: tuple[float, float, float]
    ) -> NDArray[np.float64]:
        if not self.polar:
            x, y, radius = place
            return np.hypot(values(catalogue["x"]) - x, values(catalogue["y"]) - y) / radius
        distance, azimuth, radius = place
        d = values(catalogue["distance"], u.arcsec)
        angle = np.radians(values(catalogue["azimuth"], u.deg) - azimuth)
        return np.sqrt(d**2 + distance**2 - 2 * d * distance * np.cos(angle)) / radius


#: Known cavities of each image. The middle north-eastern one of NGC 5813 has two lobes; it counts
#: as found by its nearer lobe or as a whole.
KNOWN: Mapping[str, Sequence[Known]] = {
    "ngc5813": (
        Known("inner NE", ((254.0, 269.0, 11.0),)),
        Known("inner SW", ((266.0, 244.0, 11.0),)),
        Known("middle NE", ((206.0, 307.0, 32.0), (196.0, 330.0, 50.0))),
        Known("middle SW", ((329.0, 212.0, 45.0),)),
        Known("outer NE", ((120.0, 440.0, 60.0),)),
    ),
    "ngc4649": (
        Known("N", ((18.0, 20.0, 7.5),), polar=True, within=0.75),
        Known("S", ((18.0, 200.0, 7.5),), polar=True, within=0.75),
    ),
    "abell1835": (),
}


def values(column: Any, unit: u.UnitBase | None = None) -> NDArray[np.float64]:
    """Numbers of a column, in a unit where it has one."""
    quantity = u.Quantity(column)
    return np.asarray(quantity.value if unit is None else quantity.to_value(unit), np.float64)


def found_in(catalogue: Table | QTable, known: Sequence[Known]) -> dict[str, int]:
    """Row of a catalogue that lists each known cavity; those that are missed are left out.

    The nearest pairs are taken first; a row is one cavity at most.

    Parameters
    ----------
    catalogue : Table
        As `CavityPredictor.predict` gives it.
    known : sequence of Known
    """
    if not len(catalogue):
        return {}
    pairs = [
        (float(away), cavity.name, row)
        for cavity in known
        for row, away in enumerate(cavity.away(catalogue))
        if away < cavity.within
    ]
    out: dict[str, int] = {}
    for _, name, row in sorted(pairs):
        if name not in out and row not in out.values():
            out[name] = row
    return out
