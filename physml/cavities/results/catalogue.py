"""The catalogue: one row a cavity, with sky positions, sizes, energies, errors and warnings.

Errors that the detector does not measure follow from that of the radius, on the assumption that
the errors of the edge at different azimuths are independent. With N places along the edge, each
off by s, the mean radius has the error s / sqrt(N); the centre, fitted as the first harmonic of
the edge, and the elongation, the second, have sqrt(2) times as much.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.table import QTable

from ..core.energetics import GasProfile, energetics, kpc_per_arcsec, volume, volume_error
from ..data.observation import Observation
from ..inference.merge import Candidate
from ..inference.search import Search

DESCRIPTIONS = {
    "id": "number of the cavity; its value in the label image",
    "x": "centre, 0-based input pixel",
    "y": "centre, 0-based input pixel",
    "ra": "centre, ICRS",
    "dec": "centre, ICRS",
    "position_err": "error of the centre along each axis",
    "distance": "projected distance from the cluster centre",
    "distance_err": "its error, without that of the cluster centre",
    "azimuth": "direction from the cluster centre, {angle}",
    "semi_major": "semi-major axis",
    "semi_minor": "semi-minor axis",
    "semi_axis_err": "error of each semi-axis",
    "ellipticity": "1 - semi_minor / semi_major",
    "position_angle": "direction of the semi-major axis, {angle}",
    "position_angle_err": "its error, at most that of a random direction",
    "theta": "direction of the semi-major axis on pixels, from +x towards +y",
    "radius": "sqrt(semi_major semi_minor)",
    "radius_err": "its error",
    "area": "area of the label",
    "volume": "4/3 pi (a b)^(3/2): depth between b and a",
    "volume_err": "its error: unknown depth and radius",
    "decrement": "share of the surface brightness that is missing",
    "decrement_err": "its error",
    "snr": "decrement over its noise in the undisturbed model",
    "probability": "calibrated probability that this is a cavity",
    "scale": "binning at which it was measured, input pixels",
    "scales_found": "binnings at which it was found",
    "scales_searched": "binnings that could have seen it",
    "flags": "warnings, see meta['flags']",
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

FLAGS = {
    "candidate": "below the threshold that keeps the rate of false alarms: not a sure detection",
    "edge": "reaches over the edge of the image, or of the field that found it",
    "chip_gap": "over 2 % of its area has no exposure",
    "low_exposure": "mean exposure below half of the image's largest",
    "masked_source": "over 20 % of its area are filled sources",
    "core": "covers the cluster centre",
    "unresolved": "radius under 3 pixels of the binning that found it",
    "one_scale": "not confirmed by another binning that resolves it",
    "faint": "signal to noise under 3",
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

    Returns
    -------
    QTable
        One row a cavity; angles and lengths in arcsec, or in pixels without a WCS. An empty
        catalogue has the same columns.
    """
    sky = observation.sky
    unit = sky.unit
    rows = [_row(observation, search, c, centre) for c in cavities]
    table = QTable()
    table["id"] = np.arange(1, len(rows) + 1)

    def column(name: str, unit_: u.UnitBase | None = None) -> None:
        values = np.array([row[name] for row in rows], dtype=float)
        table[name] = values if unit_ is None else values * unit_

    column("x")
    column("y")
    if sky.wcs is not None:
        column("ra", u.deg)
        column("dec", u.deg)
    for name in ("position_err", "distance", "distance_err"):
        column(name, unit)
    column("azimuth", u.deg)
    for name in ("semi_major", "semi_minor", "semi_axis_err"):
        column(name, unit)
    column("ellipticity")
    for name in ("position_angle", "position_angle_err", "theta"):
        column(name, u.deg)
    for name in ("radius", "radius_err"):
        column(name, unit)
    column("area", unit**2)
    column("volume", unit**3)
    column("volume_err", unit**3)
    for name in ("decrement", "decrement_err", "snr", "probability"):
        column(name)
    table["scale"] = np.array([c.scale for c in cavities], dtype=int)
    table["scales_found"] = _texts([" ".join(map(str, c.found_at)) for c in cavities])
    table["scales_searched"] = _texts([" ".join(map(str, c.seen_at)) for c in cavities])
    flags = [
        ["candidate"] * (not sure) + row["flags"] for row, sure in zip(rows, confident, strict=True)
    ]
    if redshift is not None and sky.wcs is not None:
        _add_physical(table, redshift, profile, flags)
    table["flags"] = _texts([" ".join(f) for f in flags])
    angle = "from +x towards +y" if sky.wcs is None else "east of north"
    for name in table.colnames:
        root = name.removesuffix("_err")
        text = DESCRIPTIONS.get(name) or f"error of {root}: {DESCRIPTIONS.get(root, root)}"
        table[name].info.description = text.format(angle=angle)
    table.meta["flags"] = dict(FLAGS)
    return table


def _texts(values: list[str]) -> np.ndarray:
    # FITS has no strings of length 0.
    width = max([1, *(len(v) for v in values)])
    return np.array(values, dtype=f"U{width}")


def _row(
    observation: Observation, search: Search, c: Candidate, centre: tuple[float, float]
) -> dict:
    """All numbers of one cavity that need no redshift."""
    sky = observation.sky
    area = sky.pixel_area(c.x, c.y)
    pixel = np.sqrt(area)
    major, minor, angle = sky.ellipse(c.x, c.y, c.semi_major, c.semi_minor, c.theta)
    distance, azimuth = sky.offset(*centre, c.x, c.y)
    radius, radius_err = pixel * c.radius, pixel * c.radius_err
    position_err = np.sqrt(2) * c.radius_err if c.position_err is None else c.position_err
    # Of a + b sin the amplitude of the second harmonic is (a - b) / 2.
    elongation = max(major - minor, 1e-9)
    angle_err = min(np.degrees(np.sqrt(2) * radius_err / elongation), 180 / np.sqrt(12))
    row = {
        "x": c.x,
        "y": c.y,
        "position_err": pixel * position_err,
        "distance": distance,
        "distance_err": pixel * position_err,
        "azimuth": azimuth,
        "semi_major": major,
        "semi_minor": minor,
        "semi_axis_err": np.sqrt(3) * radius_err,
        "ellipticity": 1 - minor / major,
        "position_angle": angle,
        "position_angle_err": angle_err,
        "theta": np.degrees(c.theta) % 180.0,
        "radius": radius,
        "radius_err": radius_err,
        "area": area * c.area,
        "volume": volume(major, minor),
        "volume_err": volume_error(major, minor, radius, radius_err),
        "decrement": c.decrement,
        "decrement_err": _decrement_error(c) if c.decrement_err is None else c.decrement_err,
        "snr": c.snr,
        "probability": c.probability,
        "flags": _flags(observation, search, c, centre),
    }
    if sky.wcs is not None:
        coordinates = sky.coordinates(c.x, c.y)
        row["ra"], row["dec"] = float(coordinates.ra.deg), float(coordinates.dec.deg)
    return row


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
    outside = (
        c.x - half_x < -0.5
        or c.y - half_y < -0.5
        or c.x + half_x > width - 0.5
        or c.y + half_y > height - 0.5
    )
    field = search.field(c.scale)
    corners_x = np.array([c.x - half_x, c.x + half_x])
    corners_y = np.array([c.y - half_y, c.y + half_y])
    cut = not np.all(field.contains(corners_x, corners_y))
    rows = slice(max(0, int(c.y - half_y)), min(height, int(c.y + half_y) + 2))
    columns = slice(max(0, int(c.x - half_x)), min(width, int(c.x + half_x) + 2))
    y, x = np.mgrid[rows, columns]
    inside = c.inside(x, y)
    exposure = observation.relative_exposure[rows, columns][inside]
    filled = observation.filled[rows, columns][inside]
    others = [k for k in c.seen_at if k != c.scale and 4 <= c.radius / k <= 32]
    conditions = {
        "edge": outside or cut,
        "chip_gap": exposure.size > 0 and float(np.mean(exposure <= 0)) > 0.02,
        "low_exposure": exposure.size > 0 and float(exposure.mean()) < 0.5,
        "masked_source": filled.size > 0 and float(filled.mean()) > 0.2,
        "core": bool(c.inside(*centre)),
        "unresolved": c.radius / c.scale < 3,
        "one_scale": bool(others) and len(c.found_at) == 1,
        "faint": c.snr < 3,
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
    table.meta["redshift"] = float(redshift)
    table.meta["kpc_per_arcsec"] = float(scale.value)
    table.meta["cosmology"] = "Planck18"
    if profile is None:
        return
    results = energetics(
        table["semi_major"] * scale,
        table["semi_minor"] * scale,
        table["radius_err"] * scale,
        table["distance_kpc"],
        table["distance_err"] * scale,
        profile,
    )
    for name, values in results.items():
        table[name] = values
    for i, covered in enumerate(profile.covers(table["distance_kpc"].to_value(u.kpc))):
        if not covered:
            flags[i].append("pressure_extrapolated")
