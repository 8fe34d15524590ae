"""One observation as the search needs it: counts, exposure, background, mask, sky coordinates.

Whatever an astronomer has becomes one such `Observation`, see `loading`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from numpy.typing import NDArray

from physml.exceptions import InputError

from .sky import Sky

log = logging.getLogger(__name__)


@dataclass
class Observation:
    """An image and what is known about it, on the pixels of the input.

    Attributes
    ----------
    counts : ndarray, shape (H, W)
        Counts; fractional or negative where the image was corrected. Undefined pixels are 0.
    relative_exposure : ndarray, shape (H, W)
        Exposure over its largest value, or over that at the cluster where other parts were exposed
        far longer; 0 where nothing was observed.
    background : ndarray, shape (H, W), or None
        Expected background counts.
    filled : ndarray of bool, shape (H, W)
        Pixels of masked sources, filled with draws from their surroundings.
    sky : Sky
        Sky coordinates, or their absence.
    name : str
        Name for messages and titles.
    path : Path or None
        File of the image.
    files : dict
        All input files by role, for the provenance.
    notes : dict
        What was done to the data and the user should know, see `remark`.
    doubts : list of str
        Those of the notes for which no detection is sure: the false alarms of the weights were
        measured on other images.
    """

    counts: NDArray[Any]
    relative_exposure: NDArray[Any]
    background: NDArray[Any] | None
    filled: NDArray[Any]
    sky: Sky
    name: str = "image"
    path: Path | None = None
    files: dict[str, Path] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    @property
    def exposed(self) -> NDArray[Any]:
        """Pixels that were observed."""
        return self.relative_exposure > 0

    @property
    def total(self) -> float:
        """All counts."""
        return float(self.counts.sum())

    @property
    def remarks(self) -> list[str]:
        """Texts of `notes`."""
        return list(self.notes.values())

    def remark(self, of_many: str, text: str) -> None:
        """Note something that the user should know; `log_remarks` tells it.

        Parameters
        ----------
        of_many : str
            The same of several images, after a text such as "12 images".
        text : str
        """
        self.notes[of_many] = text

    def doubt(self, of_many: str, text: str) -> None:
        """Note a reason for which no detection in this image is sure, see `remark`."""
        self.remark(of_many, f"{text}; no cavity is sure")
        if of_many not in self.doubts:
            self.doubts.append(of_many)

    @property
    def solid_angle(self) -> float | None:
        """Solid angle of a pixel in the middle of the image [rad^2]; None without a WCS."""
        if self.sky.wcs is None:
            return None
        height, width = self.counts.shape
        area = self.sky.pixel_area((width - 1) / 2, (height - 1) / 2)
        return float(area * np.radians(1 / 3600) ** 2)

    def position(self, ra: Any, dec: Any) -> tuple[float, float]:
        """Input pixel (x, y) of a sky position.

        Parameters
        ----------
        ra, dec : float, str or Quantity
            Degrees, or sexagesimal text such as ``14:01:02.1`` (hours) and ``+02:52:43``.

        Raises
        ------
        InputError
            Without a WCS, for an unreadable position, or one outside the image.
        """
        if self.sky.wcs is None:
            raise InputError.expected(
                self.name,
                "a celestial WCS for ra= and dec=",
                "none",
                hint="Give the centre in pixels from Python: predict(image, centre=(x, y)).",
            )
        coordinate = parse_position(ra, dec)
        x, y = (float(v) for v in self.sky.wcs.world_to_pixel(coordinate))
        return self.inside(x, y, f"RA {coordinate.ra.deg:.6f} Dec {coordinate.dec.deg:+.6f}")

    def inside(self, x: float, y: float, what: str) -> tuple[float, float]:
        """Position (x, y); `InputError` where it lies outside the image."""
        height, width = self.counts.shape
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise InputError.expected(
                self.name,
                f"a centre inside the image of {width} x {height} pixels",
                f"{what} at pixel ({x:.1f}, {y:.1f})",
            )
        return x, y


def log_remarks(observations: Iterable[Observation], only: str | None = None) -> None:
    """Log the remarks of observations as warnings: what many share, once with their number.

    Parameters
    ----------
    observations : iterable of Observation
    only : str, optional
        Those with this text for many; all by default.
    """
    alike: dict[str, list[Observation]] = {}
    for observation in observations:
        for of_many in observation.notes:
            if only in (None, of_many):
                alike.setdefault(of_many, []).append(observation)
    for of_many, same in alike.items():
        if len(same) == 1:
            log.warning("%s: %s", same[0].name, same[0].notes[of_many])
        else:
            log.warning("%d images %s", len(same), of_many)


def parse_position(ra: Any, dec: Any) -> SkyCoord:
    """Sky position from degrees or sexagesimal text; `InputError` for anything else."""
    try:
        hours = isinstance(ra, str) and any(mark in ra for mark in ":h ")
        units = (u.hourangle if hours else u.deg, u.deg)
        longitude, latitude = (
            Angle(given, unit=None if isinstance(given, u.Quantity) else unit)
            for given, unit in zip((ra, dec), units, strict=True)
        )
        return SkyCoord(longitude, latitude, frame="icrs")
    except (ValueError, TypeError, u.UnitsError) as error:
        raise InputError(
            "ra=, dec=: expected degrees (210.258) or sexagesimal (14:01:02.1 +02:52:43), "
            f"found {ra!r}, {dec!r} ({error})"
        ) from error
