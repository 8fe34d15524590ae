"""The common plane of several detectors of one kind: quadrants of a camera, chips of a row.

Quadrants are numbered from the lower left, column by column and then row by row. Each has its own
pixels (x, y) from its lower left corner; the plane has one system of millimetres, from the lower
left corner of quadrant 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Bools, Floats, Ints
from .detectors import DetectorSettings


@dataclass(frozen=True)
class Plane:
    """Places of quadrants.

    Attributes
    ----------
    detector : DetectorSettings
        One quadrant.
    across, down : int
        Quadrants along x and along y.
    gap_um : float
        Insensitive strip between the outermost pixels of neighbours, um.
    """

    detector: DetectorSettings
    across: int = 1
    down: int = 1
    gap_um: float = 0.0

    @property
    def number(self) -> int:
        """Number of quadrants."""
        return self.across * self.down

    @property
    def side_um(self) -> Floats:
        """Sides of one quadrant, um, shape (2,)."""
        d = self.detector
        return np.array([d.nx, d.ny]) * d.pixel_um

    @property
    def size_um(self) -> Floats:
        """Sides of the whole plane, um, shape (2,)."""
        parts = np.array([self.across, self.down])
        return parts * self.side_um + (parts - 1) * self.gap_um

    @property
    def area_cm2(self) -> float:
        """Sensitive area of all quadrants."""
        return self.number * self.detector.area_cm2

    def corner_um(self, quadrant: ArrayLike) -> Floats:
        """Lower left corners of quadrants, um, shape (n, 2)."""
        q = np.asarray(quadrant, np.int64)
        place = np.stack([q % self.across, q // self.across], -1)
        return place * (self.side_um + self.gap_um)

    def locate(self, position: Floats) -> tuple[Ints, Floats]:
        """Quadrants of points of the plane, and the points from the quadrants' corners.

        Parameters
        ----------
        position : ndarray, shape (n, 2)
            um from the plane's corner.

        Returns
        -------
        quadrant : ndarray of int64, shape (n,)
            -1 in a gap or beyond the plane.
        local : ndarray, shape (n, 2)
            um.
        """
        parts = np.array([self.across, self.down])
        pitch = self.side_um + self.gap_um
        place = np.clip(np.floor(position / pitch).astype(np.int64), 0, parts - 1)
        local = position - place * pitch
        inside: Bools = np.all((local >= 0) & (local <= self.side_um), axis=-1)
        quadrant = np.where(inside, place[..., 1] * self.across + place[..., 0], -1)
        return quadrant, local

    def to_mm(self, quadrant: ArrayLike, x: ArrayLike, y: ArrayLike) -> Floats:
        """Places of pixels' centres in the plane, mm, shape (n, 2)."""
        local = (np.stack([np.asarray(x, float), np.asarray(y, float)], -1) + 0.5) * (
            self.detector.pixel_um
        )
        return 1e-3 * (self.corner_um(quadrant) + local)
