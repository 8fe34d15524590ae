r"""Energy loss of protons and helium nuclei.

Mixed simulation: collisions that lose more than a cut are drawn one by one as delta electrons,
the rest is a restricted mean loss with Gamma fluctuations of the right variance. With beta and
gamma of the particle, charge z, and T the loss:

    dN/dT ds = xi' (1 - beta^2 T / T_max) / T^2,    xi' = z^2 (K/2) (Z/A) rho / beta^2

Energies in keV (per nucleon where a particle is meant), lengths in um. A helium nucleus of the
same velocity loses z^2 = 4 times as much and has the same range, since A / z^2 = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from ..core.arrays import Bools, Floats
from .materials import ELECTRON_MASS, PROTON_MASS, Material

#: Losses above this are drawn one by one, keV.
CUT = 1.0
#: Ends of the tables, keV.
LOWEST, HIGHEST = 5e2, 1e9


def beta_squared(energy: ArrayLike, mass: float = PROTON_MASS) -> Floats:
    """Velocity squared over c squared, from the kinetic energy."""
    gamma = 1 + np.asarray(energy, float) / mass
    return 1 - 1 / gamma**2


def largest_transfer(energy: ArrayLike) -> Floats:
    """Largest energy that a proton (per nucleon: any nucleus) can give to an electron, keV."""
    gamma = 1 + np.asarray(energy, float) / PROTON_MASS
    ratio = ELECTRON_MASS / PROTON_MASS
    return 2 * ELECTRON_MASS * (gamma**2 - 1) / (1 + 2 * gamma * ratio + ratio**2)


def xi_rate(material: Material, energy: ArrayLike) -> Floats:
    """Xi of a proton per path, keV/um."""
    return material.xi_rate / beta_squared(energy)


def stopping_power(material: Material, energy: ArrayLike, cut: float | None = None) -> Floats:
    """Bethe's mean loss of a proton, keV/um; restricted to losses below `cut` where given.

    Parameters
    ----------
    material : Material
    energy : array_like
        Kinetic energy, keV; good from about 1 MeV.
    cut : float, optional
        keV.
    """
    e = np.asarray(energy, float)
    b2 = beta_squared(e)
    bg2 = b2 / (1 - b2)
    largest = largest_transfer(e)
    limit = largest if cut is None else np.minimum(cut, largest)
    log = np.log(2 * ELECTRON_MASS * bg2 * limit / material.excitation**2)
    loss = log - b2 * (1 + limit / largest) - material.density_effect(np.sqrt(bg2))
    return material.xi_rate / b2 * np.maximum(loss, 0.2)


@dataclass(frozen=True)
class RangeTable:
    """Range against energy and back, log-log interpolated."""

    log_energy: Floats
    log_range: Floats

    def range(self, energy: ArrayLike) -> Floats:
        """Range in um of a proton of an energy in keV."""
        return np.exp(np.interp(np.log(energy), self.log_energy, self.log_range))

    def energy(self, distance: ArrayLike) -> Floats:
        """Energy in keV with which a proton has a range in um; 0 where that is not positive."""
        d = np.asarray(distance, float)
        found = np.exp(np.interp(np.log(np.maximum(d, 1e-9)), self.log_range, self.log_energy))
        return np.where(d > np.exp(self.log_range[0]), found, 0.0)


@lru_cache(maxsize=8)
def ranges(material: Material) -> RangeTable:
    """Table of ranges in the continuous-slowing-down approximation."""
    grid = np.linspace(np.log(LOWEST), np.log(HIGHEST), 3000)
    energy = np.exp(grid)
    steps = energy / stopping_power(material, energy)  # ds per d ln E
    # Below the table the range goes as E^1.75 (Bragg-Kleeman).
    first = energy[0] / stopping_power(material, energy[0]) / 1.75
    distance = first + np.concatenate(
        [[0.0], np.cumsum(0.5 * (steps[1:] + steps[:-1]) * np.diff(grid))]
    )
    return RangeTable(grid, np.log(distance))


@lru_cache(maxsize=8)
def _restricted_table(material: Material) -> tuple[Floats, Floats]:
    grid = np.linspace(np.log(LOWEST), np.log(HIGHEST), 2000)
    return grid, np.log(stopping_power(material, np.exp(grid), CUT))


def soft_loss(
    material: Material, energy: Floats, charge2: Floats, step: Floats, rng: Generator
) -> Floats:
    """Draw losses in steps by collisions below the cut, keV.

    Parameters
    ----------
    material : Material
    energy : ndarray
        Kinetic energy per nucleon in each step, keV.
    charge2 : ndarray
        z^2 of the particle.
    step : ndarray
        Lengths, um.
    rng : Generator
    """
    grid, table = _restricted_table(material)
    mean = charge2 * np.exp(np.interp(np.log(energy), grid, table)) * step
    b2 = beta_squared(energy)
    largest = largest_transfer(energy)
    limit = np.minimum(CUT, largest)
    variance = material.xi_rate / b2 * charge2 * step * limit * (1 - 0.5 * b2 * limit / largest)
    shape = mean**2 / np.maximum(variance, 1e-12)
    return mean * rng.standard_gamma(shape) / np.maximum(shape, 1e-12)


def draw_transfers(
    energy: Floats, rng: Generator, low: float = CUT, high: float = np.inf
) -> tuple[Floats, Bools]:
    """Draw energies of delta electrons, one for each entry.

    Energies come from 1/T^2 between two limits (T_max is one as well); the second result says
    which of them happen (probability 1 - beta^2 T / T_max). Drawing a Poisson number with the
    mean of the pure 1/T^2 law and keeping those that happen gives the right number and spectrum.
    """
    largest = np.maximum(largest_transfer(energy), low)
    u = rng.random(energy.shape)
    transfer = low / (1 - u * (1 - low / np.minimum(largest, high)))
    accepted = rng.random(energy.shape) < 1 - beta_squared(energy) * transfer / largest
    return transfer, accepted


def delta_cosine(energy: Floats, transfer: Floats) -> Floats:
    """Cosine between a particle and the electron that it knocks on."""
    largest = largest_transfer(energy)
    square = transfer * (largest + 2 * ELECTRON_MASS) / (largest * (transfer + 2 * ELECTRON_MASS))
    return np.sqrt(np.minimum(square, 1.0))
