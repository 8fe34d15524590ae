"""Planes on which shapes are drawn: image pixels, physical pixels, the tangent plane of a place.

A shape is asked for the points of its own plane. So pixels that are not square, images that are
turned or mirrored, and regions in another frame than the image need no care of their own.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from physml.exceptions import InputError

from .sky_frames import SkyFrame, SkyPixels

Floats = NDArray[np.float64]
_ARCSEC = np.degrees(1.0) * 3600


class Plane(Protocol):
    """Plane coordinates (u, v) of image pixels (x, y), 0-based, and back."""

    def of_pixels(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Plane coordinates of pixels; NaN where there are none."""

    def to_pixels(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Pixels of plane coordinates; NaN where there are none."""


@dataclass(frozen=True)
class PixelPlane:
    """Pixels as FITS counts them: image = matrix @ plane + shift, 1-based.

    Attributes
    ----------
    matrix : ndarray, shape (2, 2)
    shift : ndarray, shape (2,)
    """

    matrix: Floats
    shift: Floats

    def of_pixels(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Plane coordinates of 0-based pixels."""
        inverse = np.linalg.inv(self.matrix)
        x, y = x + 1 - self.shift[0], y + 1 - self.shift[1]
        return inverse[0, 0] * x + inverse[0, 1] * y, inverse[1, 0] * x + inverse[1, 1] * y

    def to_pixels(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """0-based pixels of plane coordinates."""
        m = self.matrix
        return (
            m[0, 0] * u + m[0, 1] * v + self.shift[0] - 1,
            m[1, 0] * u + m[1, 1] * v + self.shift[1] - 1,
        )

    @property
    def scale(self) -> float:
        """Image pixels in a unit of the plane."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))


#: Pixels of the image.
IMAGE = PixelPlane(np.eye(2), np.zeros(2))


@dataclass(frozen=True)
class TangentPlane:
    """Gnomonic plane at a place of the sky: u to the west, v to the north of a frame [arcsec].

    So an angle from u towards v turns as DS9 draws it on an image with north up.

    Attributes
    ----------
    pixels : SkyPixels
        Of the image.
    centre, west, north : ndarray, shape (3,)
        Unit vectors in ICRS.
    """

    pixels: SkyPixels
    centre: Floats
    west: Floats
    north: Floats

    @classmethod
    def at(cls, pixels: SkyPixels, frame: SkyFrame, longitude: float, latitude: float) -> Self:
        """Plane at a place of a frame [deg], north being that of the frame."""
        centre, above = frame.vectors(
            np.array([longitude, longitude]), np.array([latitude, latitude + 1e-4])
        )
        north = above - (above @ centre) * centre
        north /= np.linalg.norm(north)
        return cls(pixels, centre, np.cross(centre, north), north)

    def of_vectors(self, v: Floats) -> tuple[Floats, Floats]:
        """Plane coordinates of unit vectors, shape (..., 3); NaN behind the plane."""
        depth = v @ self.centre
        depth = np.where(depth > 1e-6, depth, np.nan)
        return _ARCSEC * (v @ self.west) / depth, _ARCSEC * (v @ self.north) / depth

    def of_pixels(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Plane coordinates of 0-based pixels."""
        return self.of_vectors(self.pixels.vectors(x, y))

    def to_pixels(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """0-based pixels of plane coordinates."""
        steps = u[..., None] * self.west + v[..., None] * self.north
        return self.pixels.of_vectors(self.centre + steps / _ARCSEC)


def physical_plane(header: Any) -> PixelPlane | None:
    """Physical pixels of a header: LTM and LTV, or a WCS named PHYSICAL; None without either.

    image = LTM physical + LTV in 1-based pixels; Chandra's and XMM's sky pixels are such ones.

    Raises
    ------
    InputError
        Both are there and disagree, or the matrix is singular.
    """
    if header is None:
        return None
    by_cards = _by_ltm(header)
    by_wcs = _by_wcs(header)
    found = by_cards or by_wcs
    if found is None:
        return None
    if by_cards and by_wcs:
        corners = (np.array([0.0, 1e3]), np.array([0.0, 1e3]))
        pairs = zip(by_cards.of_pixels(*corners), by_wcs.of_pixels(*corners), strict=True)
        if any(np.abs(a - b).max() * found.scale > 0.1 for a, b in pairs):
            raise InputError.expected(
                "header of the image",
                "physical coordinates by LTM and LTV, or by a WCS PHYSICAL",
                "two others",
            )
    return found


def _checked(matrix: Floats, shift: Floats) -> PixelPlane:
    good = np.isfinite(matrix).all() and np.isfinite(shift).all()
    if not good or abs(np.linalg.det(matrix)) < 1e-12:
        raise InputError.expected(
            "header of the image", "physical coordinates that can be inverted", "others"
        )
    return PixelPlane(matrix, shift)


def _by_ltm(header: Any) -> PixelPlane | None:
    names = [f"LTM{i}_{j}" for i in (1, 2) for j in (1, 2)]
    if not any(name in header for name in [*names, "LTV1", "LTV2"]):
        return None
    try:
        matrix = np.array([float(header.get(n, n[3] == n[5])) for n in names]).reshape(2, 2)
        shift = np.array([float(header.get(f"LTV{i}", 0.0)) for i in (1, 2)])
    except (TypeError, ValueError) as error:
        raise InputError.expected(
            "header of the image", "numbers in LTM and LTV", "others"
        ) from error
    return _checked(matrix, shift)


def _by_wcs(header: Any) -> PixelPlane | None:
    keys = [
        key for key in string.ascii_uppercase
        if str(header.get(f"WCSNAME{key}", "")).strip().upper() == "PHYSICAL"
    ]  # fmt: skip
    if not keys and "CRVAL1P" in header and "CRPIX1P" in header:
        keys = ["P"]
    if not keys:
        return None
    try:
        wcs = WCS(header, key=keys[0], naxis=2)
        # Two corners and the origin give the linear map from pixels to physical ones.
        origin, along_x, along_y = wcs.wcs_pix2world([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], 0)
    except Exception as error:  # wcslib has a family of errors of its own
        raise InputError.expected(
            "header of the image", f"usable physical coordinates {keys[0]}", "others"
        ) from error
    forward = np.column_stack([along_x - origin, along_y - origin])
    if not np.isfinite(forward).all() or abs(np.linalg.det(forward)) < 1e-12:
        raise InputError.expected(
            "header of the image", "physical coordinates that can be inverted", "others"
        )
    matrix = np.linalg.inv(forward)
    return _checked(matrix, 1.0 - matrix @ origin)
