r"""Emission of hot gas in a band of energies: what a change of density and temperature does to it.

Thermal bremsstrahlung of hydrogen in Born approximation, in photons as an image counts them::

    Lambda(T) ~ T^(-1/2) Int dE / E  g(u) exp(-u),     u = E (1 + z) / kT
    g(u)      = (sqrt(3) / pi) exp(u / 2) K0(u / 2)

(Rybicki & Lightman 1979, section 5.2; the Gaunt factor of Greene 1959). There are no lines, no
absorption and no effective area that varies within the band: above 2 keV that is what matters of a
cluster's gas; in cooler gas, or below 1 keV, lines take over, and the responses have to come from
a spectral code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import k0e

#: Temperature below which lines rule the soft band [keV].
LINES = 2.0
#: Nodes of the integral over ln E.
NODES = 40


def band_emissivity(
    temperature: ArrayLike, low: float, high: float, redshift: float = 0.0
) -> NDArray[np.float64]:
    """Photons that gas emits in a band, for one density and in units of no meaning.

    Parameters
    ----------
    temperature : array_like
        kT [keV].
    low, high : float
        Limits of the band in the observer's frame [keV].
    redshift : float
    """
    t = np.asarray(temperature, float)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    log_e = 0.5 * (np.log(high / low) * nodes + np.log(high * low))
    u = np.exp(log_e) * (1 + redshift) / t[..., None]
    # exp(-u) exp(u/2) K0(u/2) = exp(-u) k0e(u/2)
    return np.asarray((np.exp(-u) * k0e(u / 2) * weights).sum(-1) / np.sqrt(t))


@dataclass(frozen=True)
class Band:
    """Band of energies, and how its emission depends on temperature.

    Attributes
    ----------
    name : str
    temperature, low, high : float
        kT of the gas, and the limits of the band [keV]; NaN where a response is given.
    redshift : float
    given : float or None
        Response d ln Lambda / d ln T, taken as a power law, instead of that of bremsstrahlung.
    """

    name: str
    temperature: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    redshift: float = 0.0
    given: float | None = None

    def relative(self, ratio: ArrayLike) -> NDArray[np.float64]:
        """Lambda(ratio T) / Lambda(T)."""
        q = np.asarray(ratio, float)
        if self.given is not None:
            return np.asarray(q**self.given)
        own = (self.low, self.high, self.redshift)
        return band_emissivity(self.temperature * q, *own) / band_emissivity(self.temperature, *own)

    @property
    def response(self) -> float:
        """Logarithmic slope d ln Lambda / d ln T at the gas's temperature."""
        if self.given is not None:
            return self.given
        step = 1e-3
        up, down = self.relative(np.exp(step)), self.relative(np.exp(-step))
        return float(np.log(up / down) / (2 * step))


#: Kinds of structure: power of the density by which the temperature goes.
KINDS: dict[str, float] = {"isobaric": -1.0, "shock": 2.0 / 3.0}


def emission_change(band: Band, kind: str, density: Any) -> NDArray[np.float64]:
    """Emissivity in a band over that of the undisturbed gas, where the density is another.

    Parameters
    ----------
    band : Band
    kind : {"isobaric", "shock"}
        ``isobaric``: kT goes as 1 / n, the pressure stays. ``shock``: kT goes as n^(2/3), the
        entropy stays, as it does in sound waves and nearly in weak shocks and their rarefactions.
    density : array_like
        Over that of the undisturbed gas.
    """
    x = np.asarray(density, float)
    return np.asarray(x**2 * band.relative(x ** KINDS[kind]))
