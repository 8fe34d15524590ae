r"""Power of the central black hole from its cavities.

With the pressure p of the gas around a bubble of volume V filled by relativistic plasma, the
enthalpy is E = gamma / (gamma - 1) p V = 4 p V (gamma = 4/3). Three clocks tell how old the bubble
is (Birzan et al. 2004, ApJ 607, 800): its rise at the speed of sound, its rise by buoyancy, and
the time to refill the displaced volume::

    t_cs     = R / sqrt(5 kT / (3 mu m_p))
    t_buoy   = R sqrt(C S / (2 g V))          C = 0.75, S = pi a b
    t_refill = 2 sqrt(r / g)                  r = sqrt(a b)
    P        = 4 p V / t

R is the distance from the cluster centre as seen on the sky, a lower limit to the true one.
Gravity follows from hydrostatic equilibrium, g = -(kT / mu m_p) d ln p / d R.

Errors are carried in logarithms: each result is a product of powers of six independent numbers
(radius, depth, distance, pressure, temperature, density), so that correlations between volume,
radius and clocks are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from astropy import units as u
from astropy.constants import m_p
from astropy.cosmology import Planck18
from numpy.typing import NDArray

from physml.exceptions import InputError

# A number, or an array of them.
Numbers = TypeVar("Numbers", float, NDArray[np.float64])

#: Mean molecular weight of the fully ionised intracluster gas.
MU = 0.62
#: (n_e + n_i) / n_e.
PARTICLES = 1.92
#: Adiabatic index of the relativistic plasma in the bubble.
GAMMA = 4 / 3
#: Enthalpy over p V.
ENTHALPY = GAMMA / (GAMMA - 1)
#: Drag coefficient C of a rising bubble (Churazov et al. 2001, ApJ 554, 261).
DRAG = 0.75


def volume(semi_major: Numbers, semi_minor: Numbers) -> Numbers:
    """Volume of an ellipsoid whose depth is unknown, 4/3 pi a b (a + b) / 2.

    Prior: the depth is anything between b (prolate) and a (oblate) with the same density; this is
    the mean of the volumes.
    """
    return 4 / 3 * np.pi * semi_major * semi_minor * 0.5 * (semi_major + semi_minor)


def depth_error(semi_major: Numbers, semi_minor: Numbers) -> Numbers:
    """Relative error of `volume` from the unknown depth: standard deviation of its prior.

    That of a uniform number between b and a over their mean, (a - b) / (sqrt(3) (a + b)).
    """
    return (semi_major - semi_minor) / (np.sqrt(3) * (semi_major + semi_minor))


def volume_error(
    semi_major: Numbers, semi_minor: Numbers, radius: Numbers, radius_err: Numbers
) -> Numbers:
    """Error of `volume`: unknown depth, and three times the relative error of the radius."""
    relative = np.hypot(depth_error(semi_major, semi_minor), 3 * radius_err / radius)
    return volume(semi_major, semi_minor) * relative


def kpc_per_arcsec(redshift: float) -> u.Quantity:
    """Proper scale at a redshift [kpc / arcsec], Planck 2018 cosmology.

    Raises
    ------
    InputError
        For anything but 0 < z < 20.
    """
    if not (np.isfinite(redshift) and 0 < redshift < 20):
        raise InputError(f"redshift=: expected a number between 0 and 20, found {redshift!r}")
    return Planck18.kpc_proper_per_arcmin(redshift).to(u.kpc / u.arcsec)


@dataclass(frozen=True)
class GasProfile:
    """Radial profile of the gas around the cavities.

    Attributes
    ----------
    radius : ndarray, shape (N,)
        Increasing [kpc].
    pressure, pressure_err : ndarray, shape (N,)
        Thermal pressure of electrons and ions [erg / cm^3], and its 1-sigma error.
    kT, kT_err : ndarray, shape (N,), or None
        Temperature [keV].
    path : Path or None
        Where it was read from.
    """

    radius: NDArray[Any]
    pressure: NDArray[Any]
    pressure_err: NDArray[Any]
    kT: NDArray[Any] | None = None
    kT_err: NDArray[Any] | None = None
    path: Path | None = None

    def at(self, radius: NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Value and relative error at radii [kpc], by straight lines in log-log.

        Beyond its ends the profile goes on with the slope of its last two points.
        """
        value = getattr(self, name)
        relative = getattr(self, f"{name}_err") / value
        x, y = np.log(self.radius), np.log(value)
        if len(x) == 1:
            return np.full(np.shape(radius), value[0]), np.full(np.shape(radius), relative[0])
        at = np.log(radius)
        index = np.clip(np.searchsorted(x, at) - 1, 0, len(x) - 2)
        weight = (at - x[index]) / (x[index + 1] - x[index])
        result = np.exp(y[index] + weight * (y[index + 1] - y[index]))
        return result, np.interp(at, x, relative)

    def slope(self, radius: NDArray[Any]) -> NDArray[Any]:
        """Logarithmic slope d ln p / d ln r at radii [kpc].

        A straight line through the neighbouring points in log-log, weighted by a Gaussian in
        ln r: measured profiles are noisy, and the difference of two points would have any sign.
        NaN for a profile of one point.
        """
        x, y = np.log(self.radius), np.log(self.pressure)
        if len(x) < 2:
            return np.full(np.shape(radius), np.nan)
        width = max(0.5, 1.5 * float(np.median(np.diff(x))))
        at = np.log(np.atleast_1d(radius))[:, None]
        nearest = np.clip(at, x[0], x[-1])
        weight = np.exp(-0.5 * ((x - nearest) / width) ** 2)
        weight = weight / weight.sum(1, keepdims=True)
        mean_x, mean_y = (weight * x).sum(1, keepdims=True), (weight * y).sum(1, keepdims=True)
        spread = (weight * (x - mean_x) ** 2).sum(1)
        return (weight * (x - mean_x) * (y - mean_y)).sum(1) / spread

    def covers(self, radius: NDArray[Any]) -> NDArray[Any]:
        """Whether radii [kpc] lie within the profile's range."""
        return (np.asarray(radius) >= self.radius[0]) & (np.asarray(radius) <= self.radius[-1])


#: Powers of radius r, depth factor, distance R, pressure p and temperature kT in each result; the
#: pressure's own fall with R is added where it is known.
POWERS = {
    "enthalpy": (3.0, 1.0, 0.0, 1.0, 0.0),
    "t_cs": (0.0, 0.0, 1.0, 0.0, -0.5),
    "t_buoy": (-0.5, -0.5, 1.5, 0.0, -0.5),
    "t_refill": (0.5, 0.0, 0.5, 0.0, -0.5),
}


def energetics(
    semi_major: u.Quantity,
    semi_minor: u.Quantity,
    radius_err: u.Quantity,
    distance: u.Quantity,
    distance_err: u.Quantity,
    profile: GasProfile,
) -> dict[str, u.Quantity]:
    """Enthalpy, ages and powers of cavities, with errors.

    Parameters
    ----------
    semi_major, semi_minor, radius_err, distance, distance_err : Quantity, shape (N,)
        Sizes and distance from the centre [kpc].
    profile : GasProfile
        Gas around them.

    Returns
    -------
    dict of Quantity, shape (N,)
        `pressure` [erg/cm3], `enthalpy` [erg]; with a temperature also `t_cs`, `t_buoy`,
        `t_refill` [Myr] and `power_cs`, `power_buoy`, `power_refill` [erg/s]; each with `_err`.
        Clocks that need gravity are NaN where the pressure does not fall outwards.
    """
    a, b = semi_major.to_value(u.kpc), semi_minor.to_value(u.kpc)
    distance_kpc = distance.to_value(u.kpc)
    radius = np.sqrt(a * b)
    # A cavity on the very centre has no distance; its gas is that at its own edge.
    distance_kpc = np.maximum(distance_kpc, 0.5 * radius)
    pressure, pressure_rel = profile.at(distance_kpc, "pressure")
    slope = profile.slope(distance_kpc)
    # A profile of one point has no slope; `at` takes it as flat, and so do the errors.
    known_slope = np.where(np.isfinite(slope), slope, 0.0)
    sigma = np.stack(
        [
            radius_err.to_value(u.kpc) / radius,
            depth_error(a, b),
            distance_err.to_value(u.kpc) / distance_kpc,
            pressure_rel,
            np.zeros_like(radius),
        ]
    )
    values = {"enthalpy": (ENTHALPY * pressure * volume(a, b) * u.kpc.to(u.cm) ** 3, u.erg)}
    powers = {"enthalpy": [np.full_like(radius, p) for p in POWERS["enthalpy"]]}
    powers["enthalpy"][2] = known_slope  # p V at R: p falls with R
    if profile.kT is not None:
        kT, sigma[4] = profile.at(distance_kpc, "kT")
        for clock, age in _clocks(a, b, distance_kpc, kT, slope).items():
            power = f"power_{clock[2:]}"
            values[clock] = (age, u.Myr)
            values[power] = (values["enthalpy"][0] / (age * u.Myr.to(u.s)), u.erg / u.s)
            powers[clock] = [np.full_like(radius, p) for p in POWERS[clock]]
            powers[power] = [e - t for e, t in zip(powers["enthalpy"], powers[clock], strict=True)]
    out = {
        "pressure": pressure * u.erg / u.cm**3,
        "pressure_err": pressure * np.hypot(pressure_rel, known_slope * sigma[2]) * u.erg / u.cm**3,
    }
    # The catalogue's order: energies, ages, powers.
    for name in sorted(values, key=lambda name: name.startswith("power")):
        value, unit = values[name]
        out[name] = value * unit
        relative = np.sqrt(sum((p * s) ** 2 for p, s in zip(powers[name], sigma, strict=True)))
        out[f"{name}_err"] = value * relative * unit
    return out


def _clocks(
    a: NDArray[Any], b: NDArray[Any], distance: NDArray[Any], kT: NDArray[Any], slope: NDArray[Any]
) -> dict[str, NDArray[np.float64]]:
    """Three ages [Myr] of cavities with semi-axes and distances in kpc, kT in keV."""
    # kT / (mu m_p) is the square of the isothermal sound speed.
    speed2 = (kT * u.keV / (MU * m_p)).to_value(u.kpc**2 / u.Myr**2)
    with np.errstate(invalid="ignore"):
        gravity = np.where(slope < 0, -slope * speed2 / distance, np.nan)
    area = np.pi * a * b
    return {
        "t_cs": distance / np.sqrt(5 / 3 * speed2),
        "t_buoy": distance * np.sqrt(DRAG * area / (2 * gravity * volume(a, b))),
        "t_refill": 2 * np.sqrt(np.sqrt(a * b) / gravity),
    }
