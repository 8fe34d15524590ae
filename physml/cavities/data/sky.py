"""From pixels to the sky: positions, sizes and angles, for any WCS or none.

Nothing here assumes square pixels or north up. Around each cavity the WCS is a 2 x 2 matrix J
that takes a step in pixels to a step in (east, north); an ellipse drawn by the matrix M in pixels
is drawn by J M on the sky, and the singular values of that are its semi-axes there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_skycoord
from numpy.typing import ArrayLike, NDArray

_ARCSEC = np.degrees(1.0) * 3600


@dataclass(frozen=True)
class Sky:
    """Sky coordinates of an image.

    Attributes
    ----------
    wcs : WCS or None
        Celestial WCS; without it, lengths are pixels and angles are counted from +x towards +y.
    header : mapping or None
        FITS header of the image.
    """

    wcs: WCS | None
    header: Any = None

    @property
    def unit(self) -> u.UnitBase:
        """Unit of lengths: arcsec, or pixel without a WCS."""
        return u.pix if self.wcs is None else u.arcsec

    def coordinates(self, x: ArrayLike, y: ArrayLike) -> SkyCoord:
        """ICRS coordinates of 0-based pixels; only with a WCS."""
        assert self.wcs is not None
        return pixel_to_skycoord(np.asarray(x, float), np.asarray(y, float), self.wcs, 0).icrs

    def jacobian(self, x: float, y: float) -> NDArray[np.float64]:
        """Matrix J from pixel steps (dx, dy) to (east, north) [arcsec / pixel], shape (2, 2).

        Central differences over one pixel, in the tangent plane of the place itself: exact enough
        for any distortion, and without trouble at the poles or at 0h.
        """
        if self.wcs is None:
            return np.eye(2)
        steps = np.array([[0, 0], [0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
        coordinates = self.coordinates(x + steps[:, 0], y + steps[:, 1])
        vectors = coordinates.cartesian.xyz.value.T
        ra, dec = coordinates[0].ra.rad, coordinates[0].dec.rad
        east = np.array([-np.sin(ra), np.cos(ra), 0.0])
        north = np.array([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)])
        along_x, along_y = vectors[1] - vectors[2], vectors[3] - vectors[4]
        return _ARCSEC * np.array(
            [[along_x @ east, along_y @ east], [along_x @ north, along_y @ north]]
        )

    def pixel_area(self, x: float, y: float) -> float:
        """Area of a pixel [arcsec^2, or pixel^2]."""
        return float(abs(np.linalg.det(self.jacobian(x, y))))

    def ellipse(
        self, x: float, y: float, major: float, minor: float, theta: float
    ) -> tuple[float, float, float]:
        """Semi-axes and position angle of an ellipse given on pixels.

        Parameters
        ----------
        x, y : float
            Centre [pixel].
        major, minor : float
            Semi-axes [pixel].
        theta : float
            Angle of the major axis from +x towards +y [rad].

        Returns
        -------
        a, b : float
            Semi-axes [arcsec, or pixel].
        angle : float
            Position angle of a, east of north (or theta, without WCS), in [0, 180) [deg].
        """
        turn = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
        drawn = self.jacobian(x, y) @ turn @ np.diag([major, minor])
        axes, lengths, _ = np.linalg.svd(drawn)
        return float(lengths[0]), float(lengths[1]), self._angle(*axes[:, 0]) % 180.0

    def offset(self, x0: float, y0: float, x: float, y: float) -> tuple[float, float]:
        """Distance of (x, y) from (x0, y0) [arcsec, or pixel] and its direction [deg].

        The direction is a position angle east of north in [0, 360); without a WCS the angle from
        +x towards +y.
        """
        if self.wcs is None:
            east, north = x - x0, y - y0
            return float(np.hypot(east, north)), self._angle(east, north) % 360.0
        here, there = self.coordinates(x0, y0), self.coordinates(x, y)
        return float(here.separation(there).arcsec), float(here.position_angle(there).deg) % 360.0

    def _angle(self, east: float, north: float) -> float:
        if self.wcs is None:
            return float(np.degrees(np.arctan2(north, east)))
        return float(np.degrees(np.arctan2(east, north)))
