"""The catalogue: one row a cavity, with sky positions, sizes, energies, errors and warnings.

Errors that the detector does not measure follow from that of the radius, on the assumption that
the errors of the edge at different azimuths are independent. With N places along the edge, each
off by s, the mean radius has the error s / sqrt(N); the centre, fitted as the first harmonic of
the edge, and the elongation, the second, have sqrt(2) times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray

from ..core.energetics import GasProfile, energetics, kpc_per_arcsec, volume, volume_error
from ..core.halo import find_centre
from ..data.observation import Observation
from ..inference.candidate import Candidate
from ..inference.fields import Field, exposed_box
from ..inference.search import LISTED, Search

#: Columns of numbers that need no redshift: power of the unit of length (or the unit), meaning.
MEASURED: dict[str, tuple[int | u.UnitBase, str]] = {
    "x": (0, "centre, 0-based input pixel"),
    "y": (0, "centre, 0-based input pixel"),
    "ra": (u.deg, "centre, ICRS"),
    "dec": (u.deg, "centre, ICRS"),
    "position_err": (1, "error of the centre along each axis"),
    "distance": (1, "projected distance from the cluster centre"),
    "distance_err": (1, "its error, without that of the cluster centre"),
    "azimuth": (u.deg, "direction from the cluster centre, {angle}"),
    "semi_major": (1, "semi-major axis"),
    "semi_minor": (1, "semi-minor axis"),
    "semi_axis_err": (1, "error of each semi-axis"),
    "ellipticity": (0, "1 - semi_minor / semi_major"),
    "position_angle": (u.deg, "direction of the semi-major axis, {angle}"),
    "position_angle_err": (u.deg, "its error, at most that of a random direction"),
    "theta": (u.deg, "direction of the semi-major axis on pixels, from +x towards +y"),
    "radius": (1, "sqrt(semi_major semi_minor)"),
    "radius_err": (1, "its error"),
    "radius_network": (1, "radius of the network alone"),
    "radius_network_err": (1, "its error"),
    "area": (2, "area of the label"),
    "volume": (3, "4/3 pi a b (a + b) / 2: depth anything between b and a"),
    "volume_err": (3, "its error: unknown depth and radius"),
    "decrement": (0, "share of the surface brightness that is missing"),
    "decrement_err": (0, "its error"),
    "snr": (0, "decrement over its noise in the undisturbed model"),
    "probability": (0, "calibrated probability that this is a cavity"),
    "threshold": (0, "probability from which it is a sure detection here"),
    "delta_lnl": (0, "ln likelihood gained by it, over a smooth halo with dipole and quadrupole"),
    "delta_lnl_rigid": (0, "the same over a halo of elliptical symmetry"),
    "depth_factor": (0, "removed over what an empty ellipsoid of depth sqrt(a b) would remove"),
    "depth_factor_err": (0, "its error"),
}
#: Meaning of the other columns.
DESCRIPTIONS = {
    "id": "number of the cavity; its value in the label image",
    "scale": "binning at which it was measured, input pixels",
    "scales_found": "binnings at which it was found",
    "scales_searched": "binnings that could have seen it",
    "flags": "warnings, see meta['flags']",
    "covariance": "of x, y, semi_major, semi_minor [input pixel] and theta [deg]; NaN where the "
    "fit was not used",
    "distance_kpc": "projected distance",
    "radius_kpc": "radius",
    "volume_kpc": "volume",
    "volume_kpc_err": "its error",
    "pressure": "pressure of the gas at the distance of the cavity",
    "enthalpy": "4 p V",
    "t_cs": "age: rise at the speed of sound",
    "t_buoy": "age: buoyant rise",
    "t_refill": "age: refilling of the displaced volume",
    "power_cs": "4 p V / t_cs",
    "power_buoy": "4 p V / t_buoy",
    "power_refill": "4 p V / t_refill",
}

#: Columns of the likelihood, see `inference.refine`.
LIKELIHOOD = ("delta_lnl", "delta_lnl_rigid", "depth_factor", "depth_factor_err")
#: Diameter over the side of the observed image, and radius [kpc], from which a cavity is larger
#: than those that are known.
WIDE, LARGE = 0.5, 300.0

#: Flags and what they mean.
FLAGS = {
    "candidate": "no sure detection: below the threshold that keeps the rate of false alarms, or "
    "in an image to which that rate does not apply (see the remarks)",
    "edge": "reaches over the edge of the image, or of the field that found it",
    "chip_gap": "over 2 % of its area has no exposure",
    "low_exposure": "mean exposure below half of the image's largest",
    "masked_source": "over 20 % of its area are filled sources",
    "core": "covers the cluster centre",
    "unresolved": "radius under 3 pixels of the binning that found it",
    "one_scale": "not confirmed by another binning that resolves it",
    "faint": "signal to noise under 3",
    "peak": "holds the brightest place of the image",
    "large": "wider than half the observed image, or a radius over 300 kpc",
    "smooth_asymmetry": "a smooth halo that is lopsided or twisted explains most of it",
    "unsupported": "the likelihood beside the network finds it shallow or weak, as what a lopsided "
    "halo makes: no sure detection",
    "unrefined": "radius and ellipse are the network's alone: it and the likelihood disagree",
    "pressure_extrapolated": "lies outside the pressure profile",
}


def build_catalogue(
    observation: Observation,
    search: Search,
    cavities: Sequence[Candidate],
    centre: tuple[float, float],
    confident: Sequence[bool],
    redshift: float | None = None,
    profile: GasProfile | None = None,
    limits: Sequence[float] | None = None,
) -> QTable:
    """Catalogue of the selected cavities.

    Parameters
    ----------
    observation : Observation
        The image.
    search : Search
        Where they come from.
    cavities : sequence of Candidate
        Those to list, in this order.
    centre : tuple of float
        Cluster centre (x, y) [pixel].
    confident : sequence of bool
        For each of them, whether it passes the threshold on false alarms.
    redshift : float, optional
        Adds sizes in kpc.
    profile : GasProfile, optional
        Adds energies, ages and powers; needs `redshift`.
    limits : sequence of float, optional
        For each of them, the probability from which it is sure.

    Returns
    -------
    QTable
        One row a cavity; angles and lengths in arcsec, or in pixels without a WCS. An empty
        catalogue has the same columns.
    """
    sky = observation.sky
    rows = [_row(observation, search, c, centre) for c in cavities]
    for row, limit in zip(rows, limits or [np.nan] * len(rows), strict=True):
        row["threshold"] = limit
    table = QTable()
    table["id"] = np.arange(1, len(rows) + 1)
    for name, (power, _) in MEASURED.items():
        if sky.wcs is None and name in ("ra", "dec"):
            continue
        values = np.array([row[name] for row in rows], dtype=float)
        own = sky.unit**power if isinstance(power, int) else power
        table[name] = values if power == 0 else values * own
    # ECSV has no columns of matrices in a table without rows.
    shape = (-1, 5, 5) if cavities else (0,)
    table["covariance"] = np.array([_covariance(c) for c in cavities], float).reshape(shape)
    table["scale"] = np.array([c.scale for c in cavities], dtype=int)
    table["scales_found"] = _texts([" ".join(map(str, c.found_at)) for c in cavities])
    table["scales_searched"] = _texts([" ".join(map(str, c.seen_at)) for c in cavities])
    flags = [
        ["candidate"] * (not sure or c.probability < LISTED) + row["flags"]
        for c, row, sure in zip(cavities, rows, confident, strict=True)
    ]
    if redshift is not None and sky.wcs is not None:
        _add_physical(table, redshift, profile, flags)
    table["flags"] = _texts([" ".join(f) for f in flags])
    meanings = DESCRIPTIONS | {name: text for name, (_, text) in MEASURED.items()}
    angle = "from +x towards +y" if sky.wcs is None else "east of north"
    for name in table.colnames:
        root = name.removesuffix("_err")
        text = meanings.get(name) or f"error of {root}: {meanings.get(root, root)}"
        table[name].info.description = text.format(angle=angle)
    table.meta["flags"] = dict(FLAGS)
    return table


def _texts(values: list[str]) -> NDArray[np.str_]:
    # FITS has no strings of length 0.
    width = max([1, *(len(v) for v in values)])
    return np.array(values, dtype=f"U{width}")


def _row(
    observation: Observation, search: Search, c: Candidate, centre: tuple[float, float]
) -> dict[str, Any]:
    """All numbers of one cavity that need no redshift."""
    sky, area = observation.sky, observation.sky.pixel_area(c.x, c.y)
    pixel = np.sqrt(area)
    major, minor, angle = sky.ellipse(c.x, c.y, c.semi_major, c.semi_minor, c.theta)
    distance, azimuth = sky.offset(*centre, c.x, c.y)
    radius, radius_err = pixel * c.radius, pixel * c.radius_err
    position_err = np.sqrt(2) * c.radius_err if c.position_err is None else c.position_err
    covariance = getattr(c, "covariance", None)
    if covariance is None:
        # Of a + b sin the amplitude of the second harmonic is (a - b) / 2.
        axis_err = np.sqrt(3) * radius_err
        angle_err = np.degrees(np.sqrt(2) * radius_err / max(major - minor, 1e-9))
    else:
        axis_err = pixel * np.sqrt(0.5 * (covariance[2, 2] + covariance[3, 3]))
        angle_err = np.degrees(np.sqrt(covariance[4, 4]))
    angle_err = min(angle_err, 180 / np.sqrt(12))
    network = getattr(c, "network", None) or c
    row = {
        "x": c.x,
        "y": c.y,
        "position_err": pixel * position_err,
        "distance": distance,
        "distance_err": pixel * position_err,
        "azimuth": azimuth,
        "semi_major": major,
        "semi_minor": minor,
        "semi_axis_err": axis_err,
        "ellipticity": 1 - minor / major,
        "position_angle": angle,
        "position_angle_err": angle_err,
        "theta": np.degrees(c.theta) % 180.0,
        "radius": radius,
        "radius_err": radius_err,
        "radius_network": pixel * network.radius,
        "radius_network_err": pixel * network.radius_err,
        "area": area * c.area,
        "volume": volume(major, minor),
        "volume_err": volume_error(major, minor, radius, radius_err),
        "decrement": c.decrement,
        "decrement_err": _decrement_error(c) if c.decrement_err is None else c.decrement_err,
        "snr": c.snr,
        "probability": c.probability,
        **{name: getattr(c, name, np.nan) for name in LIKELIHOOD},
        "flags": _flags(observation, search, c, centre),
    }
    if sky.wcs is not None:
        coordinates = sky.coordinates(c.x, c.y)
        row["ra"], row["dec"] = float(coordinates.ra.deg), float(coordinates.dec.deg)
    return row


def _covariance(c: Candidate) -> NDArray[np.float64]:
    """Covariance of the refined ellipse, its angle in degrees; NaN where there is none."""
    covariance = getattr(c, "covariance", None)
    if covariance is None:
        return np.full((5, 5), np.nan)
    unit = np.array([1, 1, 1, 1, np.degrees(1)])
    return np.asarray(covariance * np.outer(unit, unit))


def _peak(field: Field) -> tuple[float, float]:
    """Brightest place of a field, in input pixels."""
    x, y = find_centre(field.counts[None], field.exposure[None], field.invalid[None])[0]
    px, py = field.to_image(x, y)
    return float(px), float(py)


def _decrement_error(c: Candidate) -> float:
    """Poisson error of D = 1 - N_seen / N, with N = (snr / D)^2 undisturbed counts."""
    if c.snr <= 0 or c.decrement <= 0:
        return float("nan")
    return c.decrement / c.snr * np.sqrt(max(1 - c.decrement, 0.0))


def _flags(
    observation: Observation, search: Search, c: Candidate, centre: tuple[float, float]
) -> list[str]:
    height, width = observation.counts.shape
    half_x, half_y = c.half_extent()
    x, y = np.array([c.x - half_x, c.x + half_x]), np.array([c.y - half_y, c.y + half_y])
    whole = x[0] >= -0.5 and y[0] >= -0.5 and x[1] <= width - 0.5 and y[1] <= height - 0.5
    window = c.window(observation.counts.shape)
    inside = c.inside(*np.mgrid[window][::-1])
    exposure = observation.relative_exposure[window][inside]
    filled = observation.filled[window][inside]
    spans = exposed_box(observation)
    side = min(high - low + 1 for low, high in spans)
    others = [k for k in c.seen_at if k != c.scale and 4 <= c.radius / k <= 32]
    conditions = {
        "edge": not (whole and search.field(c.scale).contains(x, y).all()),
        "chip_gap": exposure.size > 0 and float(np.mean(exposure <= 0)) > 0.02,
        "low_exposure": exposure.size > 0 and float(exposure.mean()) < 0.5,
        "masked_source": filled.size > 0 and float(filled.mean()) > 0.2,
        "core": bool(c.inside(*centre)),
        "unresolved": c.radius / c.scale < 3,
        "one_scale": bool(others) and len(c.found_at) == 1,
        "faint": c.snr < 3,
        "peak": bool(c.inside(*_peak(search.field(c.scale)))),
        "large": 2 * c.radius > WIDE * side,
        "smooth_asymmetry": bool(getattr(c, "asymmetric", False)),
        "unsupported": not getattr(c, "supported", True),
        "unrefined": getattr(c, "network", None) is not None and not getattr(c, "refined", True),
    }
    return [name for name, is_set in conditions.items() if is_set]


def _add_physical(
    table: QTable, redshift: float, profile: GasProfile | None, flags: list[list[str]]
) -> None:
    """Sizes in kpc, and energetics where the gas is known."""
    scale = kpc_per_arcsec(redshift)
    table["distance_kpc"] = table["distance"] * scale
    table["radius_kpc"] = table["radius"] * scale
    table["volume_kpc"] = table["volume"] * scale**3
    table["volume_kpc_err"] = table["volume_err"] * scale**3
    for row, radius in zip(flags, table["radius_kpc"].to_value(u.kpc), strict=True):
        if radius > LARGE and "large" not in row:
            row.append("large")
    cosmology = {"redshift": float(redshift), "kpc_per_arcsec": float(scale.value)}
    table.meta.update(**cosmology, cosmology="Planck18")
    if profile is None:
        return
    lengths = ("semi_major", "semi_minor", "radius_err", "distance", "distance_err")
    results = energetics(profile=profile, **{name: table[name] * scale for name in lengths})
    for name, values in results.items():
        table[name] = values
    for i, covered in enumerate(profile.covers(table["distance_kpc"].to_value(u.kpc))):
        if not covered:
            flags[i].append("pressure_extrapolated")


def _with_error(row: Any, name: str, style: str) -> str:
    return f"{row[name].value:{style}} +- {row[f'{name}_err'].value:{style}}"


#: Columns of short tables: the column that has to be there, and the text of a row.
SHORT: dict[str, tuple[str, Callable[[Any], str]]] = {
    "no.": ("id", lambda r: f"{r['id']}"),
    "RA": ("ra", lambda r: f"{r['ra'].value:.5f}"),
    "Dec": ("dec", lambda r: f"{r['dec'].value:+.5f}"),
    "x": ("x", lambda r: f"{r['x']:.1f}"),
    "y": ("y", lambda r: f"{r['y']:.1f}"),
    "distance": ("distance", lambda r: f"{r['distance'].value:.1f}"),
    "azimuth": ("azimuth", lambda r: f"{r['azimuth'].value:.0f}°"),
    "radius": ("radius", lambda r: _with_error(r, "radius", ".1f")),
    "a x b": ("semi_major", lambda r: f"{r['semi_major'].value:.1f} x {r['semi_minor'].value:.1f}"),
    "decrement": ("decrement", lambda r: f"{r['decrement']:.0%}"),
    "S/N": ("snr", lambda r: f"{r['snr']:.1f}"),
    "probability": ("probability", lambda r: f"{r['probability']:.2f}"),
    "d [kpc]": ("distance_kpc", lambda r: f"{r['distance_kpc'].value:.2f}"),
    "R [kpc]": ("radius_kpc", lambda r: f"{r['radius_kpc'].value:.2f}"),
    "4pV [erg]": ("enthalpy", lambda r: _with_error(r, "enthalpy", ".2e")),
    "t_buoy [Myr]": ("t_buoy", lambda r: f"{r['t_buoy'].value:.3g}"),
    "P_buoy [erg/s]": ("power_buoy", lambda r: f"{r['power_buoy'].value:.2g}"),
    "completeness": ("completeness", lambda r: f"{r['completeness']:.2f}"),
    "false alarms": ("false_alarms", lambda r: f"{r['false_alarms']:.2f}"),
    "bands": ("band_verdict", lambda r: str(r["band_verdict"])),
    "flags": ("flags", lambda r: str(r["flags"])),
}


def short_table(table: QTable, names: Sequence[str]) -> dict[str, list[str]]:
    """Columns of a catalogue as texts, under heads with their units.

    Parameters
    ----------
    table : QTable
    names : sequence of str
        Of `SHORT`; those that the catalogue lacks are left out.
    """
    unit = {"arcsec": '"'}.get(str(table["radius"].unit), "px")
    heads = {name: f"{name} [{unit}]" for name in ("distance", "radius", "a x b")}
    return {
        heads.get(name, name): [text(row) for row in table]
        for name, (needed, text) in ((name, SHORT[name]) for name in names)
        if needed in table.colnames
    }
