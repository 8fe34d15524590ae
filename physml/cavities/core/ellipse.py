"""Ellipses on pixels: extent, inside, overlap, and the label image of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Ellipse:
    """Ellipse on pixels.

    Attributes
    ----------
    x, y : float
        Centre [pixel].
    semi_major, semi_minor : float
        Semi-axes [pixel].
    theta : float
        Angle of the major axis from +x towards +y [rad].
    """

    x: float
    y: float
    semi_major: float
    semi_minor: float
    theta: float

    def half_extent(self) -> tuple[float, float]:
        """Half the width and height of the bounding box [pixel]."""
        c, s = np.cos(self.theta), np.sin(self.theta)
        return (
            float(np.hypot(self.semi_major * c, self.semi_minor * s)),
            float(np.hypot(self.semi_major * s, self.semi_minor * c)),
        )

    def squared_radius(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Squared elliptical radius of positions; 1 on the ellipse."""
        c, s = np.cos(self.theta), np.sin(self.theta)
        dx, dy = np.asarray(x) - self.x, np.asarray(y) - self.y
        u = (dx * c + dy * s) / self.semi_major
        v = (dy * c - dx * s) / self.semi_minor
        return np.asarray(u * u + v * v)

    def inside(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
        """Whether positions lie in the ellipse."""
        return self.squared_radius(x, y) <= 1

    def window(self, shape: tuple[int, int], grow: float = 1.0) -> tuple[slice, slice]:
        """Rows and columns of an image that hold the ellipse, grown by a factor."""
        width, height = (grow * v + 1 for v in self.half_extent())
        low_x, high_x = np.clip([self.x - width, self.x + width + 1], 0, shape[1])
        low_y, high_y = np.clip([self.y - height, self.y + height + 1], 0, shape[0])
        return slice(int(low_y), int(high_y)), slice(int(low_x), int(high_x))


def overlap(one: Ellipse, other: Ellipse) -> tuple[float, float]:
    """Intersection over union of two ellipses, and the part of the smaller inside the larger."""
    small, large = sorted((one, other), key=lambda e: e.semi_major * e.semi_minor)
    if np.hypot(one.x - other.x, one.y - other.y) > one.semi_major + other.semi_major:
        return 0.0, 0.0
    u, v = _disc()
    c, s = np.cos(small.theta), np.sin(small.theta)
    x = small.x + small.semi_major * u * c - small.semi_minor * v * s
    y = small.y + small.semi_major * u * s + small.semi_minor * v * c
    part = float(large.inside(x, y).mean())
    ratio = (small.semi_major * small.semi_minor) / (large.semi_major * large.semi_minor)
    shared = part * ratio
    return shared / (1 + ratio - shared), part


@lru_cache(maxsize=1)
def _disc(n: int = 4000) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points spread evenly over the unit disc (Vogel's sunflower)."""
    k = np.arange(n) + 0.5
    radius, angle = np.sqrt(k / n), np.pi * (1 + 5**0.5) * k
    return radius * np.cos(angle), radius * np.sin(angle)


def row_mask(row: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centres lie in the ellipse of a table row.

    Parameters
    ----------
    row : mapping
        With the attributes of `Ellipse`.
    shape : tuple of int
        Height and width.
    """
    y, x = np.ogrid[: shape[0], : shape[1]]
    names = ("x", "y", "semi_major", "semi_minor", "theta")
    return Ellipse(*(row[name] for name in names)).inside(x, y)


def draw_labels(rows: Sequence[Any], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Paint the ellipses of a table; where two overlap, the more probable (earlier) one wins."""
    labels = np.zeros(shape, np.int32)
    for k in range(len(rows), 0, -1):
        labels[row_mask(rows[k - 1], shape)] = k
    return labels
