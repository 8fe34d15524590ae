"""Numbers of a region file with their frames and units, brought onto a plane."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from astropy.coordinates import (
    FK4,
    FK5,
    ICRS,
    BarycentricMeanEcliptic,
    Galactic,
    Supergalactic,
)
from astropy.wcs import WCS

from ..sky import Sky
from .planes import IMAGE, PixelPlane, Plane, TangentPlane, physical_plane
from .shapes import MAX_NUMBER, PARAMETERS, Shape, make_shape
from .sky_frames import SkyFrame, SkyPixels

_EQUATORIAL = {
    "fk4": FK4(equinox="B1950"),
    "b1950": FK4(equinox="B1950"),
    "fk5": FK5(equinox="J2000"),
    "j2000": FK5(equinox="J2000"),
    "icrs": ICRS(),
}
SKY_FRAMES = _EQUATORIAL | {
    "galactic": Galactic(),
    "ecliptic": BarycentricMeanEcliptic(equinox="J2000"),
    "supergalactic": Supergalactic(),
}
#: Frames of a region file.
FRAMES = (*SKY_FRAMES, "image", "physical")

_FLOAT = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NUMBER = re.compile(rf"({_FLOAT})(''|[drpi'\"]?)", re.IGNORECASE)
_COLONS = re.compile(r"([-+]?)(\d+):(\d+(?:\.\d*)?)(?::(\d+(?:\.\d*)?))?")
_LETTERS = re.compile(r"([-+]?)(\d+)([hd])(\d+(?:\.\d*)?)m(?:(\d+(?:\.\d*)?)s)?", re.IGNORECASE)
_ARCSEC = {"d": 3600.0, "'": 60.0, '"': 1.0, "r": float(np.degrees(3600.0))}


class Value(NamedTuple):
    """A number of a region file.

    Attributes
    ----------
    number : float
    unit : str
        ``d``, ``r``, ``'``, ``"`` angles, ``i`` image pixels, ``p`` physical pixels, ``:`` degrees
        or hours in sexagesimal form, ``h`` hours; nothing where the frame decides.
    """

    number: float
    unit: str


def read_value(text: str) -> Value:
    """Value of a number in text.

    Raises
    ------
    ValueError
        It is none.
    """
    if found := _NUMBER.fullmatch(text):
        return Value(float(found.group(1)), found.group(2).lower().replace("''", '"'))
    if found := _COLONS.fullmatch(text):
        sign, unit, *parts = found.group(1), ":", *found.group(2, 3, 4)
    elif found := _LETTERS.fullmatch(text):
        sign, unit = found.group(1), found.group(3).lower()
        parts = [*found.group(2, 4, 5)]
    else:
        raise ValueError(f"no number {text[:40]!r}")
    whole = sum(float(part or 0.0) / 60**k for k, part in enumerate(parts))
    return Value(-whole if sign == "-" else whole, unit)


@dataclass
class Placer:
    """Makes shapes of values on the planes of one image.

    Attributes
    ----------
    sky : Sky
        Of the image.
    header : mapping or None
        For the physical pixels.
    remarks : set of str
        What had to be assumed.
    """

    sky: Sky
    header: Any
    remarks: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Read the physical pixels once."""
        self._physical = physical_plane(self.header)
        self._pixels_on_sky: SkyPixels | None = None
        self._frames: dict[str, SkyFrame] = {}

    @property
    def physical(self) -> PixelPlane:
        """Physical pixels; those of the image where the header has none."""
        if self._physical is None:
            self.remarks.add(
                "physical coordinates taken as image pixels: the header has no LTM, LTV or WCS "
                "PHYSICAL"
            )
            return IMAGE
        return self._physical

    def place(self, kind: str, values: Sequence[Value], frame: str | None) -> tuple[Plane, Shape]:
        """Plane and shape of a kind in `PARAMETERS`.

        Parameters
        ----------
        kind : str
        values : sequence of Value
            In the order of the kind.
        frame : str or None
            In `FRAMES`; None for CIAO's files, whose bare numbers are physical pixels and whose
            sexagesimal ones are FK5.

        Raises
        ------
        ValueError
            Values that do not fit the kind, the frame or the image.
        """
        letters = _fit(kind, len(values))
        pairs: list[tuple[Value, Value]] = []
        sizes, angles = [], []
        rest = iter(values)
        for letter in letters:
            value = next(rest)
            if letter == "c":
                pairs.append((value, next(rest)))
            elif letter == "s":
                sizes.append(value)
            elif letter == "a":
                angles.append(value)
        if not pairs:
            return IMAGE, make_shape(kind, [], [], [])
        plane, centres = self._plane(pairs, frame)
        default = {"image": "i", "physical": "p", None: "p"}.get(frame, "d")
        if frame is None and isinstance(plane, TangentPlane):
            default = ""
        lengths = [self._length(v, plane, centres[0], default) for v in sizes]
        return plane, make_shape(kind, centres, lengths, [_degrees(v) for v in angles])

    def _plane(
        self, pairs: Sequence[tuple[Value, Value]], frame: str | None
    ) -> tuple[Plane, list[tuple[float, float]]]:
        systems = {_system(value, frame) for pair in pairs for value in pair}
        if len(systems) != 1:
            raise ValueError("coordinates of two kinds")
        (system,) = systems
        if not all(abs(value.number) < MAX_NUMBER for pair in pairs for value in pair):
            raise ValueError("numbers out of range")
        if system in ("image", "physical"):
            plane = IMAGE if system == "image" else self.physical
            return plane, [(x.number, y.number) for x, y in pairs]
        if self.sky.wcs is None:
            raise ValueError(f"{system} coordinates, and the image has no celestial WCS")
        hours = system in _EQUATORIAL
        longitude = [_angle(x, hours) for x, _ in pairs]
        latitude = [_angle(y, False) for _, y in pairs]
        if any(abs(b) > 90 for b in latitude):
            raise ValueError("a latitude beyond a pole")
        pixels, there = self._on_sky(self.sky.wcs, system)
        tangent = TangentPlane.at(pixels, there, longitude[0], latitude[0])
        if len(pairs) == 1:
            return tangent, [(0.0, 0.0)]
        a, b = tangent.of_vectors(there.vectors(np.array(longitude), np.array(latitude)))
        return tangent, list(zip(a.tolist(), b.tolist(), strict=True))

    def _on_sky(self, wcs: WCS, system: str) -> tuple[SkyPixels, SkyFrame]:
        if self._pixels_on_sky is None:
            self._pixels_on_sky = SkyPixels(wcs)
        if system not in self._frames:
            self._frames[system] = SkyFrame.of(SKY_FRAMES[system])
        return self._pixels_on_sky, self._frames[system]

    def _length(
        self, value: Value, plane: Plane, centre: tuple[float, float], default: str
    ) -> float:
        """Size in units of the plane."""
        unit = value.unit or default
        if not unit:
            raise ValueError("a size without a unit beside a position on the sky")
        if unit in (":", "h"):
            raise ValueError("a size in sexagesimal form")
        number = value.number * _ARCSEC.get(unit, 1.0)
        if isinstance(plane, TangentPlane):
            return number if unit in _ARCSEC else number * self._pixels(unit) / _density(plane)
        assert isinstance(plane, PixelPlane)
        if unit in _ARCSEC:
            if self.sky.wcs is None:
                raise ValueError("an angle as size, and the image has no celestial WCS")
            x, y = plane.to_pixels(np.array([centre[0]]), np.array([centre[1]]))
            number /= np.sqrt(self.sky.pixel_area(float(x[0]), float(y[0])))
            return float(number / plane.scale)
        return number * self._pixels(unit) / plane.scale

    def _pixels(self, unit: str) -> float:
        """Image pixels in a pixel of a kind."""
        return 1.0 if unit == "i" else self.physical.scale


def _fit(kind: str, number: int) -> str:
    """Letters of the parameters of a kind, one for each that is read.

    Raises
    ------
    ValueError
        The kind has another number of values.
    """
    text = PARAMETERS[kind].replace(" ", "")
    fixed, _, more = text.partition("[")
    repeated, _, last = more.partition("]")
    count = {"c": 2}
    short = number - sum(count.get(letter, 1) for letter in fixed)
    for ending in (last.rstrip("?"), "") if last else ("",):
        rest = short - len(ending)
        step = sum(count.get(letter, 1) for letter in repeated)
        if rest == 0 or (step and rest > 0 and rest % step == 0):
            return fixed + repeated * (rest // step if step else 0) + ending
    raise ValueError(f"{number} values of {kind}")


def _system(value: Value, frame: str | None) -> str:
    """Frame that a coordinate is in."""
    if value.unit == "i":
        return "image"
    if value.unit == "p":
        return "physical"
    if value.unit:
        return frame if frame in SKY_FRAMES else "fk5"
    return frame or "physical"


def _angle(value: Value, hours: bool) -> float:
    """Coordinate on the sky [deg]."""
    if value.unit == "h" or (value.unit == ":" and hours):
        return 15 * value.number
    if value.unit in ("", ":"):
        return value.number
    return value.number * _ARCSEC[value.unit] / 3600


def _degrees(value: Value) -> float:
    """Angle of a shape [deg]."""
    if value.unit not in ("", *_ARCSEC):
        raise ValueError("an angle in pixels or hours")
    return value.number * _ARCSEC.get(value.unit, 3600.0) / 3600


def _density(plane: TangentPlane) -> float:
    """Image pixels in an arcsec at the centre of a plane."""
    a, b = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    x, y = plane.to_pixels(a, b)
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    if not np.isfinite(area) or area == 0:
        raise ValueError("a size in pixels at a place that the image does not reach")
    return float(np.sqrt(abs(area)))
