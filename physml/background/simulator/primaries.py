r"""Cosmic rays: spectrum at a level of solar modulation, arrival, passage through the housing.

Force field (Gleeson and Axford 1968) with Vos and Potgieter's (2015, ApJ 815, 119) local spectrum:

    J(T) = J_LIS(T + phi) T (T + 2 m) / [(T + phi) (T + phi + 2 m)]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from ..core.arrays import Floats
from ..core.frames import HELIUM, PROTON
from ..core.records import Records
from .geometry import Geometry
from .materials import PROTON_MASS, Material
from .protons import ranges

#: Energies of the spectrum, GeV.
LOWEST, HIGHEST = 0.01, 200.0
_MASS = PROTON_MASS / 1e6  # GeV


def local_spectrum(energy: ArrayLike) -> Floats:
    """Protons outside of the heliosphere, 1 / (m2 s sr GeV), energy in GeV."""
    t = np.asarray(energy, float)
    b2 = 1 - (_MASS / (t + _MASS)) ** 2
    return 2.70e3 * t**1.12 / b2 * ((t + 0.67) / 1.67) ** -3.93


def spectrum(energy: ArrayLike, phi: float) -> Floats:
    """Protons near Earth, 1 / (m2 s sr GeV).

    Parameters
    ----------
    energy : array_like
        Kinetic energy, GeV.
    phi : float
        Modulation potential, GV.
    """
    t = np.asarray(energy, float)
    outside = t + phi
    return local_spectrum(outside) * t * (t + 2 * _MASS) / (outside * (outside + 2 * _MASS))


@lru_cache(maxsize=8)
def _cumulative(phi: float) -> tuple[Floats, Floats]:
    """Log energies and the intensity above each of them, 1 / (m2 s sr)."""
    grid = np.linspace(np.log(LOWEST), np.log(HIGHEST), 4000)
    each = spectrum(np.exp(grid), phi) * np.exp(grid)
    pieces = 0.5 * (each[1:] + each[:-1]) * np.diff(grid)
    above = np.concatenate([np.cumsum(pieces[::-1])[::-1], [0.0]])
    return grid, above


def intensity(phi: float, above: float = LOWEST) -> float:
    """Protons above an energy in GeV, 1 / (cm2 s sr)."""
    grid, table = _cumulative(phi)
    return float(np.interp(np.log(above), grid, table)) * 1e-4


def draw_energies(phi: float, above: float, number: int, rng: Generator) -> Floats:
    """Draw energies above a limit, both in GeV."""
    grid, table = _cumulative(phi)
    total = np.interp(np.log(above), grid, table)
    return np.exp(np.interp(-rng.random(number) * total, -table, grid))


@dataclass(frozen=True)
class Primaries(Records):
    """Particles that enter the cavity, sorted by time.

    Attributes
    ----------
    time : ndarray, shape (n,)
        Seconds from the start of the exposure.
    kind : ndarray of uint8
        `PROTON` or `HELIUM`.
    outside, energy : ndarray
        Kinetic energy per nucleon before the housing and in the cavity, keV.
    position, direction : ndarray, shape (n, 3)
        Where they enter the cavity (um), and unit vectors.
    path : ndarray
        Path through the housing before, um.
    """

    time: Floats
    kind: NDArray[np.uint8]
    outside: Floats
    energy: Floats
    position: Floats
    direction: Floats
    path: Floats

    @property
    def charge2(self) -> Floats:
        """Charge squared."""
        return np.where(self.kind == HELIUM, 4.0, 1.0)


def entering_rate(geometry: Geometry, material: Material, phi: float, helium: float) -> float:
    """Particles a second that enter the cavity with an energy that passes the housing head on.

    Parameters
    ----------
    geometry : Geometry
    material : Material
        Of the housing.
    phi : float
        Modulation potential, GV.
    helium : float
        Helium nuclei over protons, by number at the same energy per nucleon.
    """
    return np.pi * intensity(phi, _least(geometry, material)) * geometry.area * 1e-8 * (1 + helium)


def _least(geometry: Geometry, material: Material) -> float:
    """Energy in GeV that is needed to get in: head on through the housing, or by its opening."""
    if geometry.opening > 0:
        return LOWEST
    return max(float(ranges(material).energy(geometry.housing)) / 1e6, LOWEST)


def draw_primaries(
    geometry: Geometry, material: Material, phi: float, helium: float, live: float, rng: Generator
) -> Primaries:
    """Draw all particles that enter the cavity in some time.

    Those whose range ends in the housing are left out: what they set free there does not come far
    (protons below 70 MeV, for 2 cm of aluminium, knock on electrons of at most 160 keV).

    Parameters
    ----------
    geometry, material, phi, helium : Geometry, Material, float, float
        See `entering_rate`.
    live : float
        s.
    rng : Generator
    """
    number = int(rng.poisson(entering_rate(geometry, material, phi, helium) * live))
    position, direction = geometry.lines(number, rng)
    outside = draw_energies(phi, _least(geometry, material), number, rng) * 1e6
    kind = np.where(rng.random(number) * (1 + helium) < helium, HELIUM, PROTON).astype(np.uint8)
    time = np.sort(rng.random(number)) * live
    path = geometry.housing_path(position, -direction)
    table = ranges(material)
    # Helium has the range of a proton of its energy per nucleon.
    energy = table.energy(table.range(outside) - path)
    drawn = Primaries(time, kind, outside, energy, position, direction, path)
    return drawn[energy > 1e3]
