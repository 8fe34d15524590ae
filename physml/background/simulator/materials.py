r"""Silicon and aluminium: composition, stopping of charged particles, attenuation of photons.

Mean excitation energies and density-effect parameters are those of Sternheimer, Berger and
Seltzer (1984, At. Data Nucl. Data Tables 30, 261). Photoelectric coefficients follow the XCOM
tables (Berger and Hubbell 1987, NBSIR 87-3597), below 1 keV Henke et al. (1993); good to 3 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..core.arrays import Floats

#: Energies in keV, lengths in um.
ELECTRON_MASS = 510.99895
PROTON_MASS = 938_272.088
#: 2 pi N_A r_e^2 m c^2: 0.153537 MeV cm2/mol, here keV cm3 / (um mol).
HALF_K = 0.153537 * 1e3 * 1e-4
FINE_STRUCTURE = 1 / 137.035999
#: Classical radius of the electron, um.
CLASSICAL_RADIUS = 2.8179403e-9
AVOGADRO = 6.02214076e23


@dataclass(frozen=True)
class Material:
    """One element.

    Attributes
    ----------
    name : str
    z : int
        Atomic number.
    mass : float
        Atomic weight, g/mol.
    density : float
        g/cm3.
    excitation : float
        Mean excitation energy I, keV.
    sternheimer : tuple of float
        C, x0, x1, a, k, delta0 of the density effect.
    edge : float
        K edge, keV.
    photo : tuple of (keV, cm2/g)
        Photoelectric coefficient on a grid, log-log interpolated; the edge is there twice.
    """

    name: str
    z: int
    mass: float
    density: float
    excitation: float
    sternheimer: tuple[float, float, float, float, float, float]
    edge: float
    photo: tuple[tuple[float, float], ...]

    @property
    def xi_rate(self) -> float:
        """K/2 Z/A rho: xi of a fast particle of unit charge, keV per um, times beta^2."""
        return HALF_K * self.z / self.mass * self.density

    @property
    def atoms(self) -> float:
        """Atoms per um3."""
        return AVOGADRO / self.mass * self.density * 1e-12

    def density_effect(self, beta_gamma: ArrayLike) -> Floats:
        """Sternheimer's delta."""
        c, x0, x1, a, k, d0 = self.sternheimer
        x = np.log10(np.maximum(np.asarray(beta_gamma, float), 1e-12))
        high = 2 * np.log(10) * x - c
        middle = high + a * np.maximum(x1 - x, 0) ** k
        low = d0 * 10 ** (2 * (x - x0))
        return np.where(x >= x1, high, np.where(x >= x0, middle, low))

    def photoelectric(self, energy: ArrayLike) -> Floats:
        """Coefficient of photoelectric absorption, 1/um.

        Parameters
        ----------
        energy : array_like
            keV; the power laws at both ends of the table go on beyond it.
        """
        e = np.log(np.asarray(energy, float))
        grid, value = np.log(np.array(self.photo)).T
        first = (value[1] - value[0]) / (grid[1] - grid[0])
        last = (value[-1] - value[-2]) / (grid[-1] - grid[-2])
        log_mu = np.interp(e, grid, value)
        log_mu = log_mu + first * np.minimum(e - grid[0], 0) + last * np.maximum(e - grid[-1], 0)
        return np.exp(log_mu) * self.density * 1e-4


SILICON = Material(
    name="Si",
    z=14,
    mass=28.0855,
    density=2.329,
    excitation=0.173,
    sternheimer=(4.4355, 0.2015, 2.8716, 0.14921, 3.2546, 0.14),
    edge=1.8389,
    photo=(
        (0.2, 6.0e4), (0.5, 8.45e3), (1.0, 1.568e3), (1.5, 5.33e2), (1.8389, 3.075e2),
        (1.83891, 3.189e3), (2.0, 2.774e3), (3.0, 9.765e2), (4.0, 4.512e2), (5.0, 2.433e2),
        (6.0, 1.457e2), (8.0, 6.37e1), (10.0, 3.31e1), (15.0, 9.83), (20.0, 4.09),
        (30.0, 1.15), (40.0, 0.463), (50.0, 0.227), (60.0, 0.127), (80.0, 0.0497),
        (100.0, 0.0241), (150.0, 0.0066), (200.0, 0.0027),
    ),
)  # fmt: skip

ALUMINIUM = Material(
    name="Al",
    z=13,
    mass=26.9815,
    density=2.699,
    excitation=0.166,
    sternheimer=(4.2395, 0.1708, 3.0127, 0.08024, 3.6345, 0.12),
    edge=1.5596,
    photo=(
        (1.0, 1.183e3), (1.5, 4.000e2), (1.5596, 3.600e2), (1.55961, 3.955e3), (2.0, 2.260e3),
        (3.0, 7.862e2), (4.0, 3.59e2), (5.0, 1.920e2), (6.0, 1.141e2), (8.0, 4.955e1),
        (10.0, 2.56e1), (15.0, 7.53), (20.0, 3.11), (30.0, 0.872), (40.0, 0.350),
        (50.0, 0.171), (60.0, 0.0954), (80.0, 0.0371), (100.0, 0.0180), (150.0, 0.0049),
        (200.0, 0.0020),
    ),
)  # fmt: skip
