"""Units of pixels, as headers write them, and the way from them to counts.

The noise lives in counts: a rate, a flux or a surface brightness is multiplied by what it was
divided by. What that was has to be given, or be in the header; it is not guessed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from physml.exceptions import InputError

#: Keywords of the time by which a rate was divided, best first [s].
TIMES = ("EXPOSURE", "LIVETIME", "ONTIME", "EXPTIME")
#: Largest value of an exposure map without unit up to which it is a relative one.
RELATIVE = 2.0
#: What is counted: pixels of CCD images are, up to a factor, counts as well.
_COUNTED = {"ct", "ph", "adu", "DN", "electron", "pix", "beam"}
#: Names that astropy does not know, or knows for something else.
_NAMES = {
    r"counts?|cts?|cnts?": "ct",
    r"photons?|phot|ph": "ph",
    r"events?|evts?": "ct",
    r"pixels?|pix|px|bins?": "pix",
    r"seconds?|secs?": "s",
    r"sq(uare)?[ _.-]?arc[ _-]?min(ute)?s?": "arcmin2",
    r"sq(uare)?[ _.-]?arc[ _-]?sec(ond)?s?": "arcsec2",
    r"sq(uare)?[ _.-]?deg(ree)?s?": "deg2",
    r"arcminutes?": "arcmin",
    r"arcseconds?": "arcsec",
    r"degrees?|degs?": "deg",
    r"adu": "adu",
}


@dataclass(frozen=True)
class PixelUnit:
    """Unit of the pixels of an image or of an exposure map.

    Attributes
    ----------
    text : str
        As it was given.
    scale : float
        In units of s, m and rad.
    time, length, angle : float
        Powers of these.
    counted : bool
        Whether something is counted: counts, photons, or a pure number.
    other : bool
        Whether anything else is in it, such as an energy.
    """

    text: str
    scale: float
    time: float
    length: float
    angle: float
    counted: bool
    other: bool

    @property
    def is_counts(self) -> bool:
        """Whether these are counts."""
        return not (self.time or self.length or self.angle or self.other)

    @property
    def is_rate(self) -> bool:
        """Whether these are counts divided by a time, an area or a solid angle."""
        powers = (self.time in (0, -1), self.length in (0, -2), self.angle in (0, -2))
        return all(powers) and not self.other and not self.is_counts

    @property
    def is_exposure(self) -> bool:
        """Whether this is a time, an area, or a time times an area."""
        powers = (self.time in (0, 1), self.length in (0, 2))
        return all(powers) and bool(self.time or self.length) and not (self.angle or self.other)


def parse_unit(text: Any) -> PixelUnit | None:
    """Unit of a text such as ``count/s/deg2``; None for none, or for words that are no unit.

    Parameters
    ----------
    text : str, Unit or None
    """
    if text is None or not str(text).strip():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", u.UnitsWarning)
            unit = text if isinstance(text, u.UnitBase) else u.Unit(_plain(str(text)))
            whole = unit.decompose()
    except (ValueError, TypeError):
        return None
    bases = zip(whole.bases, whole.powers, strict=True)
    powers = {str(base): float(power) for base, power in bases}
    known = {name: powers.pop(name, 0.0) for name in ("s", "m", "rad")}
    counted = {name: powers.pop(name) for name in list(powers) if name in _COUNTED}
    return PixelUnit(
        text=str(text).strip(),
        scale=float(whole.scale),
        time=known["s"],
        length=known["m"],
        angle=known["rad"],
        counted=any(power > 0 for name, power in counted.items() if name not in ("pix", "beam")),
        other=bool(powers),
    )


def _plain(text: str) -> str:
    """Text in a spelling that astropy reads: one slash, known names."""
    text = re.sub(r"\s*/\s*", "/", text.strip().strip("[]"))
    names = "|".join(f"(?P<n{i}>{pattern})" for i, pattern in enumerate(_NAMES))

    def known(match: re.Match[str]) -> str:
        number = next(i for i in range(len(_NAMES)) if match.group(f"n{i}"))
        return list(_NAMES.values())[number]

    text = re.sub(rf"(?<![A-Za-z])(?:{names})(?![A-Za-z])", known, text, flags=re.IGNORECASE)
    text = re.sub(r"(?<![A-Za-z])(SR|CM|KS|S|M)(?![A-Za-z])", lambda m: m.group().lower(), text)
    if text.count("/") > 1 and "(" not in text:
        above, *below = text.split("/")
        text = f"{above or '1'}/({' '.join(below)})"
    return text


def to_counts(
    image: NDArray[np.float64],
    unit: PixelUnit,
    exposure: NDArray[np.float64] | None,
    exposure_unit: PixelUnit | None,
    header: Mapping[str, Any],
    pixel_area: float | None,
    name: str,
) -> tuple[NDArray[np.float64], str]:
    """Counts of an image whose unit is known, and by what it was multiplied.

    Parameters
    ----------
    image : ndarray, shape (H, W)
    unit : PixelUnit
        Of the image, a rate.
    exposure : ndarray of the same shape, or None
        Exposure map.
    exposure_unit : PixelUnit or None
        Its unit, where it is known; s by default, or cm2 s beside a flux.
    header : mapping
        Of the image; its exposure time takes the place of a map.
    pixel_area : float or None
        Solid angle of a pixel [rad^2].
    name : str
        Name of the image for messages.

    Raises
    ------
    InputError
        What it was divided by is neither given nor in the header.
    """
    factor: Any = unit.scale
    by = []
    if unit.angle:
        if pixel_area is None:
            raise InputError.expected(
                name, "a celestial WCS, for the solid angle of a pixel", f"none, and {unit.text}"
            )
        factor = factor * pixel_area
        by.append("the solid angle of a pixel")
    time, length = -unit.time, -unit.length
    if time or length:
        if exposure is not None:
            # Without a unit it is what telescopes' programs write: s, or cm2 s for fluxes.
            own = exposure_unit or parse_unit("cm2 s" if length else "s")
            if exposure_unit is None and exposure.max() <= RELATIVE:
                own = parse_unit("pix")  # a relative one: the time is in the header
            assert own is not None
            factor = factor * exposure * own.scale
            time, length = time - own.time, length - own.length
            by.append("the exposure map")
        elif length:
            raise InputError.expected(
                name,
                f"an exposure map beside an image in {unit.text}",
                "none",
                hint="Give it as exposure (--exposure).",
            )
    if length or time not in (0, 1):
        given = exposure_unit.text if exposure_unit else "none"
        raise InputError.expected(
            name,
            f"an exposure map in units that make counts of {unit.text}",
            f"one in {given}",
            hint="units='flux' (--units flux) multiplies by it all the same.",
        )
    if time:
        key, seconds = exposure_time(header)
        if seconds is None:
            raise InputError.expected(
                name,
                f"an exposure map beside an image in {unit.text}, or a time in its header",
                f"neither ({', '.join(TIMES)} are missing)",
                hint="Give it as exposure (--exposure); units='counts' (--units counts) takes the "
                "pixels for counts.",
            )
        factor = factor * seconds
        by.append(f"{key} = {seconds:g} s of the header")
    return np.asarray(image * factor), " and ".join(by)


def exposure_time(header: Mapping[str, Any]) -> tuple[str, float | None]:
    """Keyword and time of an exposure [s]; None where the header has none."""
    for key in TIMES:
        try:
            seconds = float(header.get(key, "nan"))
        except (TypeError, ValueError):
            continue
        if np.isfinite(seconds) and seconds > 0:
            return key, seconds
    return "", None
