"""Cavities found in one image against those that the literature knows there.

A cavity of ours and one of the literature are the same where the centre of either lies within the
circle of the larger one (radius ``sqrt(a b)``), and the larger is at most `SIZE_RATIO` times the
smaller. Pairs are one to one, chosen so that the sum of the distances, each over that radius, is
smallest. Two papers' sizes of one cavity differ by factors of up to 2, and rims drawn by eye are
off by a good part of the radius: overlap of areas, which test sets are judged by, asks for more
than such tables hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ...core.energetics import kpc_per_arcsec
from ...data.literature import KnownCavity
from ...inference.aperture import measure_aperture
from ..result import CavityResult

#: Largest ratio of the radii of one cavity.
SIZE_RATIO = 3.0
#: Radius over distance of a cavity whose size the literature leaves out: the middle of the prior.
USUAL_SIZE = 0.6
#: Angles by which ours are turned about the centre to see how many pairs chance makes [deg]; less
#: leaves large cavities where they are.
TURNS = np.arange(60.0, 301.0, 15.0)
#: Column, its unit or None, and its meaning, of the table of known cavities.
COLUMNS: dict[str, tuple[u.UnitBase | None, str]] = {
    "target": (None, "name in the list of targets"),
    "cavity": (None, "name or number in the literature"),
    "status": (
        None,
        "found; candidate (found with the flag 'candidate'); missed; outside (of the observed "
        "image); not placed (see 'why'); not searched (the target failed); not in the list",
    ),
    "id": (None, "row in the target's catalogue; 0 where there is none"),
    "probability": (None, "of what was found"),
    "separation": (u.arcsec, "between our centre and the literature's"),
    "radius_ratio": (None, "our radius over the literature's"),
    "ra": (u.deg, "centre in the literature, ICRS"),
    "dec": (u.deg, "centre in the literature, ICRS"),
    "distance": (u.arcsec, "of that from the centre of the cluster as we use it"),
    "radius": (u.arcsec, "sqrt(semi_major semi_minor) in the literature"),
    "snr_literature": (None, "signal to noise that the literature gives"),
    "snr": (
        None,
        "deficit within the literature's outline, over its noise: against our smooth model, scaled "
        "to the gas at the same distance to both sides",
    ),
    "why": (None, "why a cavity could not be placed"),
}


def compare(result: CavityResult, known: Sequence[KnownCavity]) -> dict[str, Any]:
    """Known cavities of one target, each with what was found of it.

    Parameters
    ----------
    result : CavityResult
        Of the target's image.
    known : sequence of KnownCavity
        Those of the target.

    Returns
    -------
    dict
        ``rows`` (one dict a known cavity, keys of `COLUMNS` but ``target``), ``placed`` (number of
        them on the observed image) and ``by_chance`` (number found if ours were turned about the
        centre, the mean over `TURNS`).
    """
    rows = [_placed(result, one) for one in known]
    _measure(result, rows)
    on_image = [row for row in rows if row["status"] == "missed"]
    theirs = np.array([[*_plane(row), row["radius"]] for row in on_image]).reshape(-1, 3)
    ours = _ours(result)
    for i, j in pairs(ours, theirs):
        row, catalogue = on_image[j], result.catalogue[i]
        row["status"] = "candidate" if result.is_candidate(i) else "found"
        row["id"] = int(catalogue["id"])
        row["probability"] = float(catalogue["probability"])
        row["separation"] = float(np.hypot(*(ours[i, :2] - theirs[j, :2])))
        if row["has_radius"]:
            row["radius_ratio"] = float(ours[i, 2] / theirs[j, 2])
    chance = [len(pairs(_turned(ours, turn), theirs)) for turn in TURNS]
    for row in rows:
        if not row.pop("has_radius"):
            row["radius"] = float("nan")
        del row["azimuth"], row["outline"]
    return {"rows": rows, "placed": len(on_image), "by_chance": float(np.mean(chance))}


def pairs(ours: NDArray[Any], theirs: NDArray[Any]) -> list[tuple[int, int]]:
    """Cavities that are the same, one to one.

    Parameters
    ----------
    ours, theirs : ndarray, shape (n, 3) and (m, 3)
        East, north and radius of each [one unit].

    Returns
    -------
    list of tuple of int
        Rows of both.
    """
    if not (len(ours) and len(theirs)):
        return []
    apart = np.hypot(*(ours[:, None, :2] - theirs[None, :, :2]).transpose(2, 0, 1))
    a, b = ours[:, None, 2], theirs[None, :, 2]
    cost = apart / np.maximum(a, b)
    same = (cost <= 1) & (np.maximum(a, b) <= SIZE_RATIO * np.minimum(a, b))
    # What is forbidden costs more than all that is allowed together.
    rows, columns = linear_sum_assignment(np.where(same, cost, 2.0 + min(same.shape)))
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if same[i, j]]


def _ours(result: CavityResult) -> NDArray[np.float64]:
    """East, north and radius [arcsec] of the listed cavities, shape (n, 3)."""
    table = result.catalogue
    if result.observation.sky.wcs is None:
        return np.zeros((0, 3))
    distance, azimuth = table["distance"].to_value(u.arcsec), table["azimuth"].to_value(u.rad)
    radius = table["radius"].to_value(u.arcsec)
    return np.stack([distance * np.sin(azimuth), distance * np.cos(azimuth), radius], 1)


def _plane(row: dict[str, Any]) -> tuple[float, float]:
    angle = np.radians(row["azimuth"])
    return row["distance"] * np.sin(angle), row["distance"] * np.cos(angle)


def _turned(ours: NDArray[Any], degrees: float) -> NDArray[np.float64]:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return np.asarray(ours @ turn.T)


def _placed(result: CavityResult, known: KnownCavity) -> dict[str, Any]:
    """Row of one known cavity before any match, with its place on the image."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS, float("nan")) | {
        "cavity": known.number,
        "status": "not placed",
        "id": 0,
        "why": "",
        "azimuth": float("nan"),
        "outline": None,
        "has_radius": known.semi_major is not None,
    }
    del row["target"]
    if known.snr is not None:
        row["snr_literature"] = known.snr
    sky = result.observation.sky
    redshift = known.redshift if result.redshift is None else result.redshift

    def arcsec(length: u.Quantity) -> float:
        if length.unit.is_equivalent(u.arcsec):
            return float(length.to_value(u.arcsec))
        if redshift is None:
            raise ValueError("a length in kpc, and no redshift")
        return float((length / kpc_per_arcsec(redshift)).to_value(u.arcsec))

    try:
        if sky.wcs is None:
            raise ValueError("the image has no celestial WCS")
        centre = sky.coordinates(*result.centre)
        if known.ra is not None and known.dec is not None:
            place = type(centre)(known.ra * u.deg, known.dec * u.deg, frame="icrs")
        elif known.distance is not None and known.azimuth is not None:
            away = arcsec(known.distance) * u.arcsec
            place = centre.directional_offset_by(known.azimuth * u.deg, away)
        else:
            raise ValueError("neither ra and dec nor distance and azimuth")
        row["ra"], row["dec"] = float(place.ra.deg), float(place.dec.deg)
        row["distance"] = float(centre.separation(place).arcsec)
        row["azimuth"] = float(centre.position_angle(place).deg)
        axes = [USUAL_SIZE * max(row["distance"], 1.0)] * 2
        if known.semi_major is not None and known.semi_minor is not None:
            axes = [arcsec(known.semi_major), arcsec(known.semi_minor)]
        row["radius"] = float(np.sqrt(axes[0] * axes[1]))
    except ValueError as error:
        row["why"] = str(error)
        return row
    x, y = (float(v) for v in sky.wcs.world_to_pixel(place))
    inside = _outline(result, x, y, axes[0], axes[1], known.position_angle)
    observed = result.observation.exposed[inside]
    if observed.size == 0 or observed.mean() < 0.5:
        row["status"] = "outside"
        return row
    row["status"], row["outline"] = "missed", inside
    return row


def _measure(result: CavityResult, rows: list[dict[str, Any]]) -> None:
    """Add the signal to noise of the deficit within the outline of each known cavity."""
    shape = result.observation.counts.shape
    structure = np.zeros(shape, bool)
    for cavity in result.cavities:
        window = cavity.window(shape)
        Y, X = np.mgrid[window]
        structure[window] |= cavity.inside(X, Y)
    outlines = [row["outline"] for row in rows if row["outline"] is not None]
    for outline in outlines:
        structure[outline] = True
    for row in rows:
        if row["outline"] is not None:
            inside = np.zeros(shape, bool)
            inside[row["outline"]] = True
            observation, model = result.observation, result.model
            measured = measure_aperture(observation, model, result.centre, inside, structure)
            if measured is not None:
                row["snr"] = measured.snr


def _outline(
    result: CavityResult, x: float, y: float, a: float, b: float, angle: float | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pixels (rows, columns) of an ellipse on the sky, semi-axes in arcsec; a circle without PA."""
    height, width = result.observation.counts.shape
    jacobian = result.observation.sky.jacobian(x, y)
    if angle is None:
        a = b = float(np.sqrt(a * b))
    reach = int(np.ceil(a / np.sqrt(abs(np.linalg.det(jacobian))) * 1.5)) + 1
    rows = np.arange(max(0, int(y) - reach), min(height, int(y) + reach + 2))
    columns = np.arange(max(0, int(x) - reach), min(width, int(x) + reach + 2))
    Y, X = np.meshgrid(rows, columns, indexing="ij")
    east, north = np.tensordot(jacobian, np.stack([X - x, Y - y]), axes=1)
    turn = np.radians(angle or 0.0)
    along = east * np.sin(turn) + north * np.cos(turn)
    across = east * np.cos(turn) - north * np.sin(turn)
    inside = (along / a) ** 2 + (across / b) ** 2 <= 1
    return Y[inside], X[inside]
