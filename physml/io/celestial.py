"""Celestial coordinates of an image: any common header, right or refused.

wcslib reads a header by the letter of the standard. Where a header breaks it, the answer may be
wrong without a word: `CUNIT1 = 'ARCSEC'` is no unit, a missing `CDELT1` is one degree a pixel,
`RADESYS = 'J2000'` is no system, and astropy takes ecliptic positions for equatorial ones. Here
such cards are first put into the form that they can only mean, or the header is refused.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

_SYSTEMS = {
    "ICRS": "ICRS", "ICRF": "ICRS", "ICRF2": "ICRS", "ICRF3": "ICRS", "GCRS": "ICRS",
    "FK5": "FK5", "J2000": "FK5", "J2000.0": "FK5", "FK5/J2000": "FK5", "FK5J2000": "FK5",
    "FK4": "FK4", "B1950": "FK4", "B1950.0": "FK4", "FK4/B1950": "FK4", "FK4-NO-E": "FK4-NO-E",
}  # fmt: skip
_UNITS = {
    "deg": "deg", "degree": "deg", "degrees": "deg", "degs": "deg", "d": "deg",
    "arcmin": "arcmin", "arcmins": "arcmin", "arcminute": "arcmin", "arcminutes": "arcmin",
    "'": "arcmin", "arcsec": "arcsec", "arcsecs": "arcsec", "arcsecond": "arcsec",
    "arcseconds": "arcsec", "asec": "arcsec", '"': "arcsec", "''": "arcsec",
    "mas": "mas", "rad": "rad", "radian": "rad", "radians": "rad",
}  # fmt: skip
#: First letters of the celestial axes, and the systems that become equatorial or stay.
_AXIS = re.compile(r"(RA|DEC|[A-Z]LON|[A-Z]LAT|[A-Z]{2}LN|[A-Z]{2}LT)(-|$)")
_KNOWN = ("RA", "GLON", "ELON", "SLON")
_MATRIX = re.compile(r"(CD|PC)0*(\d)_0*(\d)")
#: Largest distance between a position and what comes back from the sky [pixel].
MAX_RETURN = 0.05


def read_celestial(
    name: Path | str, source: Any, shape: tuple[int, int] | None = None
) -> WCS | None:
    """Celestial world coordinates of a header; None where there are none.

    Parameters
    ----------
    name : path or str
        For messages.
    source : Header or WCS
        Axes beyond the first two have length 1.
    shape : tuple of int, optional
        Shape (H, W) of the image, on which the coordinates are tried out.

    Returns
    -------
    WCS or None
        Longitude and latitude, in this order, from x and y; equatorial or galactic, so that
        astropy knows the frame.

    Raises
    ------
    InputError
        There are some, and they cannot be inverted, lack a scale, contradict each other, or are
        of a system that is not known: positions would be wrong.
    """
    from astropy.wcs import WCS, FITSFixedWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            if isinstance(source, WCS):
                if not source.has_celestial:
                    return None
                wcs = (source if source.naxis == 2 else source.celestial).deepcopy()
                wcs.wcs.radesys = _system(name, wcs.wcs.radesys)
                wcs.wcs.set()
            else:
                cards = _tidy(name, source)
                if cards is None:
                    return None
                wcs = WCS(cards, naxis=2)
                if not wcs.has_celestial:
                    return None
            wcs = _equatorial(name, _longitude_first(wcs))
            _try_out(name, wcs, shape)
    except InputError:
        raise
    except Exception as error:  # wcslib has a family of errors of its own
        detail = " ".join(str(error).split()) or type(error).__name__
        raise InputError.expected(
            name, "usable celestial coordinates", f"a WCS that fails ({detail})"
        ) from error
    return wcs


def _tidy(name: Path | str, header: Header) -> Header | None:
    """Copy of a header with cards in the form that wcslib understands; None without celestial axes.

    Raises
    ------
    InputError
        Cards that lack, contradict each other, or have no known meaning.
    """
    types = {
        axis: str(header[f"CTYPE{axis}"]).strip().upper()
        for axis in range(1, 10)
        if f"CTYPE{axis}" in header
    }
    celestial = [axis for axis, text in types.items() if _AXIS.match(text)]
    if not celestial:
        return None
    if celestial != [1, 2]:
        raise InputError.expected(
            name,
            "two celestial axes that are the image's",
            ", ".join(f"CTYPE{axis} {text!r}" for axis, text in sorted(types.items())),
        )
    cards = header.copy()
    for axis in celestial:
        cards[f"CTYPE{axis}"] = types[axis]
        unit = str(header.get(f"CUNIT{axis}", "")).strip()
        if unit:
            if unit.lower() not in _UNITS:
                raise InputError.expected(name, f"an angle as CUNIT{axis}", repr(unit))
            cards[f"CUNIT{axis}"] = _UNITS[unit.lower()]
    _tidy_matrix(name, cards)
    for card in ("RADESYS", "RADECSYS"):
        if card in cards:
            cards[card] = _system(name, cards[card]) if types[1][:2] in ("RA", "DE") else ""
    for card in ("EQUINOX", "EPOCH"):
        if isinstance(cards.get(card), str):
            _tidy_equinox(name, cards, card)
    return cards


def _system(name: Path | str, given: Any) -> str:
    """Standard name of an equatorial system, or nothing."""
    text = str(given).strip().upper().replace(" ", "")
    if text and text not in _SYSTEMS:
        known = ", ".join(sorted(_SYSTEMS))
        raise InputError.expected(name, f"RADESYS as one of {known}", repr(str(given)))
    return _SYSTEMS.get(text, "")


def _tidy_equinox(name: Path | str, cards: Header, card: str) -> None:
    """Make a number of an equinox in text such as J2000 or 1950.0."""
    text = str(cards[card]).strip().upper()
    if not text:
        del cards[card]
        return
    found = re.fullmatch(r"([JB]?)\s*(\d{4}(?:\.\d*)?)", text)
    if not found:
        raise InputError.expected(name, f"{card} as a year", repr(cards[card]))
    cards[card] = float(found.group(2))


def _tidy_matrix(name: Path | str, cards: Header) -> None:
    """Complete or refuse the matrix from pixels to angles."""
    matrix: dict[str, dict[tuple[int, int], float]] = {"CD": {}, "PC": {}}
    for keyword in {card.keyword for card in cards.cards}:
        if (found := _MATRIX.fullmatch(keyword)) is not None:
            place = (int(found.group(2)), int(found.group(3)))
            matrix[found.group(1)][place] = float(cards[keyword])
    for (i, j), value in (matrix["CD"] | matrix["PC"]).items():
        # An axis of one pixel at its own reference adds nothing.
        if i <= 2 < j and value and float(cards.get(f"CRPIX{j}", 0.0)) != 1:
            raise InputError.expected(
                name, "celestial axes of the image's two axes", f"a part of axis {j}"
            )
    plane = {k: {p: v for p, v in m.items() if max(p) <= 2} for k, m in matrix.items()}
    scaled = [float(cards.get(f"CDELT{axis}", 0.0)) != 0 for axis in (1, 2)]
    if plane["CD"]:
        if not any(plane["CD"].values()):
            raise InputError.expected(name, "usable celestial coordinates", "a CD matrix of zeros")
        if plane["PC"]:
            raise InputError.expected(name, "a matrix CD or PC", "both")
        for i, j in ((1, 1), (1, 2), (2, 1), (2, 2)):
            cards[f"CD{i}_{j}"] = plane["CD"].get((i, j), 0.0)
        # Leftovers of an older description of the same scale; the standard lets CD count.
        for keyword in ("CDELT1", "CDELT2", "CROTA1", "CROTA2"):
            cards.remove(keyword, ignore_missing=True, remove_all=True)
        return
    if not (all(scaled) or (plane["PC"] and not any(f"CDELT{a}" in cards for a in (1, 2)))):
        raise InputError.expected(
            name,
            "a scale of the celestial coordinates (CDELT or CD)",
            "none",
            hint="Set CDELT1 and CDELT2 to the size of a pixel, or remove CTYPE to search in "
            "pixels.",
        )
    _check_rotation(name, cards, plane["PC"])


def _check_rotation(name: Path | str, cards: Header, matrix: dict[tuple[int, int], float]) -> None:
    """Refuse a CROTA that wcslib would pass over or that contradicts the matrix PC."""
    latitude = 2 if cards["CTYPE2"].startswith("DEC") or "LAT" in cards["CTYPE2"][:5] else 1
    longitude = 3 - latitude
    rotation, other = (float(cards.get(f"CROTA{axis}", 0.0)) for axis in (latitude, longitude))
    if other not in (0.0, rotation):
        raise InputError.expected(
            name,
            f"a rotation on the axis of the latitude (CROTA{latitude})",
            f"CROTA{longitude} {other:g} and CROTA{latitude} {rotation:g}",
        )
    if rotation and matrix:
        raise InputError.expected(name, "a rotation by CROTA or PC", "both")


def _longitude_first(wcs: WCS) -> WCS:
    """WCS with the longitude as its first axis; the pixels keep their order.

    astropy's `pixel_to_skycoord` exchanges x and y where the latitude comes first.
    """
    from astropy.wcs import WCS

    if wcs.wcs.lng == 0:
        return wcs
    new = WCS(naxis=2)
    new.wcs.ctype, new.wcs.cunit = list(wcs.wcs.ctype)[::-1], list(wcs.wcs.cunit)[::-1]
    new.wcs.crpix, new.wcs.crval = wcs.wcs.crpix, wcs.wcs.crval[::-1]
    new.wcs.cd = wcs.pixel_scale_matrix[::-1]
    new.wcs.lonpole, new.wcs.latpole = wcs.wcs.lonpole, wcs.wcs.latpole
    new.wcs.radesys, new.wcs.equinox = wcs.wcs.radesys, wcs.wcs.equinox
    new.wcs.set_pv([(3 - axis, number, value) for axis, number, value in wcs.wcs.get_pv()])
    new.sip = wcs.sip
    new.wcs.set()
    return new


def _equatorial(name: Path | str, wcs: WCS) -> WCS:
    """WCS whose frame astropy knows: ecliptic and supergalactic ones become ICRS.

    A change of the system is a rotation of the sphere. A zenithal projection keeps its plane: only
    the position of the reference point and the direction of the pole (LONPOLE) are new (Calabretta
    & Greisen 2002, A&A 395, 1077, section 2.4).
    """
    from astropy.coordinates import BarycentricMeanEcliptic, SkyCoord, Supergalactic
    from astropy.wcs.utils import pixel_to_skycoord

    kind = wcs.wcs.lngtyp.strip().rstrip("-")
    if kind not in _KNOWN:
        raise InputError.expected(
            name, "equatorial, galactic, ecliptic or supergalactic coordinates", repr(kind)
        )
    if kind in ("RA", "GLON"):
        return wcs
    equinox = 2000.0 if np.isnan(wcs.wcs.equinox) else wcs.wcs.equinox
    frame = (
        BarycentricMeanEcliptic(equinox=f"J{equinox:.6f}") if kind == "ELON" else Supergalactic()
    )
    if wcs.wcs.theta0 != 90:
        raise InputError.expected(
            name,
            "a zenithal projection (TAN, SIN, ARC, STG, ZEA) of ecliptic or supergalactic "
            "coordinates",
            " and ".join(wcs.wcs.ctype),
            hint="Reproject the image to RA---TAN.",
        )
    centre = SkyCoord(
        wcs.wcs.crval[wcs.wcs.lng], wcs.wcs.crval[wcs.wcs.lat], unit="deg", frame=frame
    )
    pole = SkyCoord(0, 90, unit="deg", frame="icrs").transform_to(frame)
    turned = wcs.deepcopy()
    types = list(wcs.wcs.ctype)
    turned.wcs.ctype = ["RA--" + types[0][4:], "DEC-" + types[1][4:]]
    turned.wcs.radesys, turned.wcs.equinox = "ICRS", np.nan
    turned.wcs.crval = [centre.icrs.ra.deg, centre.icrs.dec.deg]
    # Native longitude runs from the old pole against the position angle.
    turned.wcs.lonpole = wcs.wcs.lonpole - centre.position_angle(pole).deg
    turned.wcs.set()
    pixel = wcs.wcs.crpix + np.array([[0.0, 0.0], [90.0, 20.0], [-40.0, 130.0]]) - 1
    world = wcs.all_pix2world(pixel, 0)
    right = SkyCoord(*world.T, unit="deg", frame=frame).icrs
    off = right.separation(pixel_to_skycoord(*pixel.T, turned, 0)).deg
    if not (off < 1e-9 + MAX_RETURN * _scale(wcs)).all():
        raise InputError.expected(name, "coordinates that can be made equatorial", "others")
    return turned


def _scale(wcs: WCS) -> float:
    """Size of a pixel [deg]."""
    from astropy.wcs.utils import proj_plane_pixel_scales

    return float(np.min(proj_plane_pixel_scales(wcs)))


def _try_out(name: Path | str, wcs: WCS, shape: tuple[int, int] | None) -> None:
    """Refuse a WCS without a known frame, or one that does not lead back to where it began."""
    from astropy.wcs.utils import pixel_to_skycoord

    height, width = shape or (2, 2)
    if shape is not None and _scale(wcs) * max(shape) > 180 and "TAN" in wcs.wcs.ctype[0]:
        raise InputError.expected(
            name, "an image smaller than the sky", f"pixels of {_scale(wcs):.3g} deg"
        )
    x, y = (a.ravel() for a in np.meshgrid([0, (width - 1) / 2], [0, (height - 1) / 2]))
    x, y = np.append(x, width - 1.0), np.append(y, height - 1.0)
    back = _there_and_back(wcs, np.column_stack([x, y]))
    inside = np.isfinite(back).all(axis=1)  # corners of an image may lie off the sky
    error = np.abs(back - np.column_stack([x, y]))[inside]
    if not inside.any() or not (error < MAX_RETURN).all():
        raise InputError.expected(
            name, "celestial coordinates that can be inverted", "a WCS that cannot"
        )
    if not np.isfinite(pixel_to_skycoord(x[inside], y[inside], wcs, 0).icrs.ra.deg).all():
        raise InputError.expected(name, "a frame that can be brought to ICRS", "another")


def _there_and_back(wcs: WCS, pixel: NDArray[Any]) -> NDArray[Any]:
    """Pixels after a way to the sky and back, with all distortions; NaN off the sky."""
    sky = wcs.all_pix2world(pixel, 0)
    out = np.full(pixel.shape, np.nan)
    good = np.isfinite(sky).all(axis=1)
    if good.any():
        out[good] = wcs.all_world2pix(sky[good], 0)
    return out
