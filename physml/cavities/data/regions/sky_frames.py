"""Unit vectors in ICRS of places in a frame, and of the pixels of an image.

A region file may hold thousands of regions. Between all frames but FK4, whose positions hold an
aberration of 0.3 arcsec, a change is a rotation: a matrix that is made once, where astropy's
objects take some ten milliseconds for each place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from astropy.coordinates import SkyCoord, UnitSphericalRepresentation
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Largest error of a frame's matrix [rad]; a milliarcsecond.
_EXACT = 5e-9


@dataclass(frozen=True)
class SkyFrame:
    """A frame and the matrix from its vectors to those in ICRS.

    Attributes
    ----------
    frame : BaseCoordinateFrame
    matrix : ndarray, shape (3, 3), or None
        None where the change is no rotation.
    """

    frame: Any
    matrix: Floats | None

    @classmethod
    def of(cls, frame: Any) -> Self:
        """Make the matrix of a frame and try it out."""
        axes = _slow(frame, np.array([0.0, 90.0, 0.0]), np.array([0.0, 0.0, 90.0]))
        longitude, latitude = np.array([50.0, 170.0, 290.0]), np.array([-60.0, 10.0, 40.0])
        off = _unit(longitude, latitude) @ axes - _slow(frame, longitude, latitude)
        return cls(frame, axes.T if np.abs(off).max() < _EXACT else None)

    def vectors(self, longitude: Floats, latitude: Floats) -> Floats:
        """Unit vectors in ICRS of places [deg], shape (..., 3)."""
        if self.matrix is None:
            return _slow(self.frame, longitude, latitude)
        return _unit(longitude, latitude) @ self.matrix.T

    def places(self, vectors: Floats) -> tuple[Floats, Floats]:
        """Longitude and latitude [deg] of vectors in ICRS, shape (..., 3)."""
        if self.matrix is None:
            x, y, z = np.moveaxis(vectors, -1, 0)
            there = SkyCoord(x, y, z, representation_type="cartesian").transform_to(self.frame)
            sphere = there.represent_as(UnitSphericalRepresentation)
            return sphere.lon.deg, sphere.lat.deg
        x, y, z = np.moveaxis(vectors @ self.matrix, -1, 0)
        return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def _unit(longitude: Floats, latitude: Floats) -> Floats:
    lon, lat = np.radians(longitude), np.radians(latitude)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def _slow(frame: Any, longitude: Floats, latitude: Floats) -> Floats:
    icrs = SkyCoord(longitude, latitude, unit="deg", frame=frame).icrs
    return _unit(icrs.ra.deg, icrs.dec.deg)


class SkyPixels:
    """Pixels of an image on the sky.

    Parameters
    ----------
    wcs : WCS
        Longitude and latitude from x and y.
    """

    def __init__(self, wcs: WCS) -> None:
        self.wcs = wcs
        self.frame = SkyFrame.of(wcs_to_celestial_frame(wcs))
        self._plain: WCS | None = None

    def vectors(self, x: Floats, y: Floats) -> Floats:
        """Unit vectors in ICRS of 0-based pixels, shape (..., 3)."""
        world = self.wcs.all_pix2world(np.ravel(x), np.ravel(y), 0)
        found = self.frame.vectors(world[self.wcs.wcs.lng], world[self.wcs.wcs.lat])
        return found.reshape(*np.shape(x), 3)

    def of_vectors(self, vectors: Floats) -> tuple[Floats, Floats]:
        """0-based pixels of vectors in ICRS, shape (..., 3); NaN where there are none."""
        places = self.frame.places(vectors.reshape(-1, 3))
        world = places if self.wcs.wcs.lng == 0 else places[::-1]
        try:
            x, y = self.wcs.all_world2pix(*world, 0)
        except Exception:  # a distortion does not converge far outside: there none is needed
            if self._plain is None:
                self._plain = self.wcs.deepcopy()
                self._plain.sip = None
            x, y = self._plain.all_world2pix(*world, 0)
        return x.reshape(vectors.shape[:-1]), y.reshape(vectors.shape[:-1])
