"""A slab of silicon in a box-shaped cavity inside a thick housing.

Axes x, y along the detector's columns and rows, z away from its readout side; the slab fills
[0, nx p] x [0, ny p] x [0, thickness], lengths in um. The cavity leaves the stand-off free above
and below the slab and a gap at its sides; the housing is a box around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from ..core.arrays import Bools, Floats
from .tracks import normals


@dataclass(frozen=True)
class Geometry:
    """Slab, cavity and housing.

    Attributes
    ----------
    size : ndarray, shape (3,)
        Of the slab, um.
    standoff, gap : float
        Distance from the slab to the housing above and below it, and at its sides, um.
    housing : float
        Thickness of the housing, um.
    above : float, optional
        Distance from the slab to the face on the side of the light, um; the stand-off by default.
    opening : float
        Share of that face which is open: a rectangle in its middle. What comes in there has gone
        through nothing, and what goes out there is gone.
    yields : tuple of float, optional
        Electrons set free by the faces at the sides, behind the slab, and on the side of the
        light, over those of the material; all 1 by default.
    front : bool
        Light comes from the readout side, at small z, instead of from large z.
    """

    size: Floats
    standoff: float
    gap: float
    housing: float
    above: float | None = None
    opening: float = 0.0
    yields: tuple[float, float, float] | None = None
    front: bool = False

    @property
    def low(self) -> Floats:
        """Lower corner of the cavity, um."""
        below = self.above if self.front and self.above is not None else self.standoff
        return -np.array([self.gap, self.gap, below])

    @property
    def high(self) -> Floats:
        """Upper corner of the cavity, um."""
        over = self.above if not self.front and self.above is not None else self.standoff
        return self.size + np.array([self.gap, self.gap, over])

    @property
    def area(self) -> float:
        """Surface of the cavity, um2."""
        a, b, c = self.high - self.low
        return float(2 * (a * b + b * c + c * a))

    def lines(self, number: int, rng: Generator) -> tuple[Floats, Floats]:
        """Draw isotropic lines that cross the cavity: where they enter, and directions.

        A convex surface A in an isotropic intensity I is entered by pi I A particles a second,
        evenly and with a cosine law.
        """
        low, high = self.low, self.high
        side = high - low
        faces = np.array([side[1] * side[2], side[0] * side[2], side[0] * side[1]]).repeat(2)
        face = rng.choice(6, number, p=faces / faces.sum())
        axis, upper = face // 2, face % 2
        position = low + side * rng.random((number, 3))
        rows = np.arange(number)
        position[rows, axis] = np.where(upper, high[axis], low[axis])
        inward = np.zeros((number, 3))
        inward[rows, axis] = np.where(upper, -1.0, 1.0)
        return position, cosine_law(inward, rng)

    def housing_path(self, position: Floats, direction: Floats) -> Floats:
        """Path through the housing from a point of its inner surface, um."""
        path = ray_box(position, direction, self.low - self.housing, self.high + self.housing)[1]
        return path if self.opening == 0 else np.where(self.open(position), 0.0, path)

    def open(self, position: Floats) -> Bools:
        """Points of the housing's inner surface that lie in its opening."""
        if self.opening == 0:
            return np.zeros(len(position), bool)
        middle = 0.5 * (self.low + self.high)[:2]
        half = 0.5 * (self.high - self.low)[:2] * np.sqrt(self.opening)
        there: Bools = (np.abs(position[:, :2] - middle) < half).all(1)
        there &= self._from_light(self.housing_normal(position)) > 0
        return there

    def electron_yield(self, normal: Floats) -> Floats:
        """Electrons over those of the material, by the normals of the housing's faces."""
        if self.yields is None:
            return np.ones(len(normal))
        sides, board, light = self.yields
        way = self._from_light(normal)
        return np.where(way < 0, board, np.where(way > 0, light, sides))

    def _from_light(self, direction: Floats) -> Floats:
        """Components of directions along that in which light comes in."""
        return direction[:, 2] if self.front else -direction[:, 2]

    def to_housing(self, position: Floats, direction: Floats) -> Floats:
        """Distance to the housing from within the cavity, um."""
        return np.maximum(ray_box(position, direction, self.low, self.high)[1], 0.0)

    def to_slab(self, position: Floats, direction: Floats) -> tuple[Floats, Floats]:
        """Distances at which lines enter and leave the slab, um; inf where they miss it."""
        near, far = ray_box(position, direction, np.zeros(3), self.size)
        missed = (far <= near) | (far <= 0)
        return np.where(missed, np.inf, near), np.where(missed, np.inf, far)

    def housing_normal(self, position: Floats) -> Floats:
        """Normals of the housing, pointing into the cavity, at points of its surface."""
        below = np.abs(position - self.low)
        above = np.abs(position - self.high)
        distance = np.concatenate([below, above], 1)
        face = distance.argmin(1)
        normal = np.zeros_like(position)
        normal[np.arange(len(face)), face % 3] = np.where(face < 3, 1.0, -1.0)
        return normal

    def onto_housing(self, position: Floats) -> Floats:
        """Bring points just beyond an edge back onto the cavity's surface."""
        return np.clip(position, self.low, self.high)


def cosine_law(normal: Floats, rng: Generator) -> Floats:
    """Directions about normals (n, 3) with a density proportional to the cosine."""
    c = np.sqrt(rng.random(len(normal)))
    s = np.sqrt(1 - c * c)
    phi = rng.random(len(normal)) * (2 * np.pi)
    a, b = normals(normal)
    return c[:, None] * normal + (s * np.cos(phi))[:, None] * a + (s * np.sin(phi))[:, None] * b


def isotropic(number: int, rng: Generator) -> Floats:
    """Directions over the whole sphere, shape (n, 3)."""
    z = rng.uniform(-1, 1, number)
    s = np.sqrt(1 - z * z)
    phi = rng.random(number) * (2 * np.pi)
    return np.stack([s * np.cos(phi), s * np.sin(phi), z], 1)


def ray_box(
    position: Floats, direction: Floats, low: Floats, high: Floats
) -> tuple[Floats, Floats]:
    """Distances along lines at which they enter and leave a box (the first > second: missed)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first = (low - position) / direction
        second = (high - position) / direction
    # A line in the plane of a face gives 0 / 0: that face does not bound it.
    near = np.where(np.isnan(first), -np.inf, np.minimum(first, second))
    far = np.where(np.isnan(second), np.inf, np.maximum(first, second))
    return near.max(1), far.min(1)
