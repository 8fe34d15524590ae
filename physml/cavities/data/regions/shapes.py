"""Shapes on a plane: which of its points they hold, and how far they reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray
from regions import (
    CircleAnnulusPixelRegion,
    CirclePixelRegion,
    EllipseAnnulusPixelRegion,
    EllipsePixelRegion,
    PixCoord,
    PolygonPixelRegion,
    RectangleAnnulusPixelRegion,
    RectanglePixelRegion,
)

Floats = NDArray[np.float64]
Holds = Callable[[Floats, Floats], NDArray[np.bool_]]

#: Largest coordinate or size: beyond it is no image and no sky [pixel, arcsec].
MAX_NUMBER = 1e9
#: Values of each shape: c for a coordinate pair, s for a size, a for an angle, n for a number;
#: what is in brackets may repeat or lack.
PARAMETERS = {
    "circle": "c s",
    "ellipse": "c s s [s s] a?",
    "box": "c s s [s s] a?",
    "rotbox": "c s s a",
    "annulus": "c s s [s]",
    "pie": "c s s a a",
    "sector": "c a a",
    "panda": "c a a n s s n",
    "polygon": "c c c [c]",
    "rectangle": "c c",
    "rotrectangle": "c c a",
    "field": "",
}
#: Shorter and other names, as CIAO's library of regions has them.
NAMES = {"circ": "circle", "cir": "circle", "ell": "ellipse", "poly": "polygon",
         "rect": "rectangle", "rotrect": "rotrectangle", "sect": "sector"}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A shape on a plane.

    Attributes
    ----------
    holds : callable
        Whether points (u, v) lie in it.
    box : tuple of float, or None
        Bounds (low u, high u, low v, high v); None for a shape without an end.
    """

    holds: Holds
    box: tuple[float, float, float, float] | None


def make_shape(
    kind: str,
    centres: Sequence[tuple[float, float]],
    sizes: Sequence[float],
    angles: Sequence[float],
) -> Shape:
    """Shape of a kind in `PARAMETERS`.

    Parameters
    ----------
    kind : str
    centres : sequence of (u, v)
        The centre; for polygons the vertices, for rectangles two opposite corners.
    sizes : sequence of float
        Radii, semi-axes (ellipse), or full widths and heights (box).
    angles : sequence of float
        From u towards v [deg].

    Raises
    ------
    ValueError
        Sizes that are not positive or not in order, numbers that are too large or not finite.
    """
    numbers = np.concatenate([np.ravel(centres), sizes, angles])
    if not (np.abs(numbers) < MAX_NUMBER).all():  # also false for NaN
        raise ValueError("numbers out of range")
    if any(size < 0 for size in sizes):
        raise ValueError("a negative size")
    if kind == "field":
        return Shape(lambda a, b: np.isfinite(a) & np.isfinite(b), None)
    if kind == "polygon":
        return _polygon(centres)
    if kind in ("rectangle", "rotrectangle"):
        return _rectangle(centres, angles)
    at = PixCoord(*map(float, centres[0]))
    if kind == "sector":
        return Shape(_between(at, angles), None)
    if kind in ("pie", "panda"):
        return _pie(at, sizes, angles)
    reach = {"circle": max, "annulus": max, "ellipse": max}.get(kind, _half_diagonal)(sizes)
    region = _rings(kind, at, sizes, (angles[0] if len(angles) else 0.0) * u.deg)
    box = (at.x - reach, at.x + reach, at.y - reach, at.y + reach)
    return Shape(_held(region), box)


def _half_diagonal(sizes: Sequence[float]) -> float:
    return float(np.hypot(max(sizes[::2]), max(sizes[1::2]))) / 2


def _held(region: Any) -> Holds:
    return lambda a, b: np.asarray(region.contains(PixCoord(a, b)), dtype=bool)


def _rings(kind: str, at: PixCoord, sizes: Sequence[float], angle: Any) -> Any:
    """Circle, ellipse, box, or the ring between the first and the last of several."""
    if kind in ("circle", "annulus"):
        inner, outer = (0.0, sizes[0]) if kind == "circle" else (sizes[0], sizes[-1])
        if list(sizes) != sorted(sizes):
            raise ValueError("radii that do not grow")
        return CirclePixelRegion(at, outer) if not inner else (
            CircleAnnulusPixelRegion(at, inner, outer)
        )  # fmt: skip
    factor = 2 if kind == "ellipse" else 1  # semi-axes; boxes have full sides
    (w0, h0), (w1, h1) = (np.multiply(pair, factor) for pair in (sizes[:2], sizes[-2:]))
    if len(sizes) == 2 or (w0 == 0 and h0 == 0):
        whole = EllipsePixelRegion if kind == "ellipse" else RectanglePixelRegion
        return whole(at, w1, h1, angle)
    ring = EllipseAnnulusPixelRegion if kind == "ellipse" else RectangleAnnulusPixelRegion
    return ring(at, w0, w1, h0, h1, angle)


def _polygon(vertices: Sequence[tuple[float, float]]) -> Shape:
    a, b = np.asarray(vertices, dtype=float).T
    if len(a) < 3:
        raise ValueError("a polygon of fewer than three vertices")
    region = PolygonPixelRegion(PixCoord(a, b))
    return Shape(_held(region), (a.min(), a.max(), b.min(), b.max()))


def _rectangle(corners: Sequence[tuple[float, float]], angles: Sequence[float]) -> Shape:
    (a0, b0), (a1, b1) = corners
    at = PixCoord((a0 + a1) / 2, (b0 + b1) / 2)
    sides = (abs(a1 - a0), abs(b1 - b0))
    region = RectanglePixelRegion(at, *sides, (angles[0] if len(angles) else 0.0) * u.deg)
    reach = _half_diagonal(sides)
    return Shape(_held(region), (at.x - reach, at.x + reach, at.y - reach, at.y + reach))


def _between(at: PixCoord, angles: Sequence[float]) -> Holds:
    """Directions from the first angle up to the second; the whole circle where they are equal."""
    width = (angles[1] - angles[0]) % 360.0 or 360.0

    def holds(a: Floats, b: Floats) -> NDArray[np.bool_]:
        direction = np.degrees(np.arctan2(b - at.y, a - at.x))
        return np.asarray((direction - angles[0]) % 360.0 <= width)

    return holds


def _pie(at: PixCoord, sizes: Sequence[float], angles: Sequence[float]) -> Shape:
    inner, outer = sizes[0], sizes[-1]
    if not inner < outer:
        raise ValueError("radii that do not grow")
    turned = _between(at, angles)

    def holds(a: Floats, b: Floats) -> NDArray[np.bool_]:
        distance = np.hypot(a - at.x, b - at.y)
        return np.asarray((distance >= inner) & (distance <= outer) & turned(a, b))

    return Shape(holds, (at.x - outer, at.x + outer, at.y - outer, at.y + outer))
