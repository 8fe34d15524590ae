"""Celestial coordinates of odd headers, against the tangent plane worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import (
    FK4,
    FK5,
    BarycentricMeanEcliptic,
    FK4NoETerms,
    Galactic,
    SkyCoord,
    Supergalactic,
)
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_skycoord

from physml.exceptions import InputError
from physml.io.celestial import read_celestial
from physml.io.fits import open_image

STEP = 0.984 / 3600
BASE = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 128.5, "CRPIX2": 128.5,
    "CRVAL1": 150.0, "CRVAL2": 20.0, "CDELT1": -STEP, "CDELT2": STEP,
}  # fmt: skip
PLACES = np.array([[154.0, 141.0], [103.7, 109.8], [3.0, 250.0], [255.0, 0.0]])


def header(**cards):
    """Header of a tangent plane; a card of None is left out."""
    return fits.Header({k: v for k, v in {**BASE, **cards}.items() if v is not None})


def by_hand(frame="icrs", rotation=0.0, x_step=-STEP, y_step=STEP, bend=None):
    """Places in ICRS: steps on the tangent plane, then a great circle from its centre."""
    u_, v = (PLACES - 127.5).T
    if bend is not None:
        u_, v = bend(u_, v)
    turn = np.radians(rotation)
    east = x_step * u_ * np.cos(turn) - y_step * v * np.sin(turn)
    north = x_step * u_ * np.sin(turn) + y_step * v * np.cos(turn)
    away = np.arctan(np.radians(np.hypot(east, north))) * u.rad
    centre = SkyCoord(150 * u.deg, 20 * u.deg, frame=frame)
    return centre.directional_offset_by(np.arctan2(east, north) * u.rad, away).icrs


def off(cards, expected):
    """Largest distance from what is expected [pixel], there and back."""
    wcs = read_celestial("image", cards, (256, 256))
    found = pixel_to_skycoord(*PLACES.T, wcs, 0).icrs
    back = np.column_stack(wcs.world_to_pixel(expected))
    return max(found.separation(expected).deg.max() / STEP, np.hypot(*(back - PLACES).T).max())


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        *[({"RADESYS": text}, "fk5") for text in ("J2000", "fk5", "FK5 ", " J2000.0", "FK5/J2000")],
        *[({"RADESYS": text}, "icrs") for text in ("ICRF", "icrs", "", "   ", "ICRF3")],
        ({"RADESYS": "FK4-NO-E"}, FK4NoETerms(equinox="B1950")),
        ({"RADESYS": "fk4"}, FK4(equinox="B1950")),
        ({"RADESYS": "B1950"}, FK4(equinox="B1950")),
        ({"RADECSYS": "fk5"}, "fk5"),
        ({"EQUINOX": "J2000"}, "fk5"),
        ({"EQUINOX": "2000.0"}, "fk5"),
        ({"EQUINOX": "B1950"}, FK4(equinox="B1950")),
        ({"EQUINOX": 1975.0, "RADESYS": "fk5"}, FK5(equinox="J1975")),
        ({"EPOCH": 2000.0}, "fk5"),
        ({"EQUINOX": "  "}, "icrs"),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, Galactic()),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "RADESYS": "galactic"}, Galactic()),
        ({"CTYPE1": "SLON-TAN", "CTYPE2": "SLAT-TAN"}, Supergalactic()),
        ({"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}, BarycentricMeanEcliptic()),
        ({"CTYPE1": "ra---tan", "CTYPE2": "dec--tan"}, "icrs"),
    ],
    ids=str,
)
def test_systems(cards, frame):
    assert off(header(**cards), by_hand(frame)) < 2e-3


def test_the_letter_of_the_standard_would_be_wrong():
    """Astropy alone takes ecliptic positions for equatorial ones, and ARCSEC for nearly nothing."""
    plain = WCS(header(CTYPE1="ELON-TAN", CTYPE2="ELAT-TAN"))
    right = by_hand(BarycentricMeanEcliptic())
    assert pixel_to_skycoord(*PLACES.T, plain, 0).icrs.separation(right).deg.min() > 1


@pytest.mark.parametrize(
    ("cards", "more"),
    [
        ({"CROTA2": 30.0}, {"rotation": 30.0}),
        ({"CROTA1": 30.0, "CROTA2": 30.0}, {"rotation": 30.0}),
        ({"CDELT1": STEP}, {"x_step": STEP}),
        ({"CDELT1": None, "CDELT2": None, "CD1_1": -STEP, "CD2_2": STEP}, {}),
        ({"CD1_1": -STEP, "CD2_2": STEP, "CDELT1": 1.0, "CDELT2": 1.0, "CROTA2": 40.0}, {}),
        ({"CDELT1": None, "CDELT2": None, "CD1_2": STEP, "CD2_1": STEP},
         {"rotation": -90.0, "x_step": -STEP, "y_step": STEP}),
        ({"CDELT1": None, "CDELT2": None, "PC1_1": -STEP, "PC2_2": STEP}, {}),
        ({"CD001_001": None, "PC1_1": 0.6, "PC1_2": 0.8, "PC2_1": -0.8, "PC2_2": 0.6},
         {"rotation": np.degrees(np.arctan2(0.8, 0.6))}),
    ],
    ids=str,
)  # fmt: skip
def test_matrices(cards, more):
    # PC: x' = CDELT1 (PC1_1 x + PC1_2 y), a turn by which CROTA2 has the opposite sign here.
    assert off(header(**cards), by_hand(**more)) < 2e-3


@pytest.mark.parametrize(
    ("unit", "size"),
    [("arcsec", 3600), ("ARCSEC", 3600), ("arcseconds", 3600), ('"', 3600), ("ArcMin", 60),
     ("rad", np.pi / 180), ("Radians", np.pi / 180), ("Degrees", 1), ("DEG", 1), ("mas", 3.6e6)],
)  # fmt: skip
def test_units(unit, size):
    cards = {k: v * size for k, v in BASE.items() if k[:5] in ("CRVAL", "CDELT")}
    assert off(header(CUNIT1=unit, CUNIT2=unit, **cards), by_hand()) < 2e-3


def test_latitude_first():
    """The declination is the first of the two axes, as in some mosaics."""
    cards = header(
        CTYPE1="DEC--TAN", CTYPE2="RA---TAN", CRVAL1=20.0, CRVAL2=150.0, CDELT1=STEP, CDELT2=-STEP
    )
    wcs = read_celestial("image", cards, (256, 256))
    expected = by_hand()
    found = pixel_to_skycoord(*PLACES.T[::-1], wcs, 0).icrs  # x and y exchanged
    assert found.separation(expected).deg.max() / STEP < 2e-3
    for kind in ("ELAT/ELON", "SLAT/SLON"):
        other = cards.copy()
        other["CTYPE1"], other["CTYPE2"] = (f"{t}-TAN" for t in kind.split("/"))
        frame = BarycentricMeanEcliptic() if kind[0] == "E" else Supergalactic()
        wcs = read_celestial("image", other, (256, 256))
        found = pixel_to_skycoord(*PLACES.T[::-1], wcs, 0).icrs
        assert found.separation(by_hand(frame)).deg.max() / STEP < 2e-3


def bent(u_, v):
    return u_ + 3e-4 * u_**2, v + 2e-4 * u_ * v


@pytest.mark.parametrize("axes", [2, 3, 4])
def test_distortion_and_axes_of_one_pixel(axes, tmp_path):
    cards = header(
        CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", A_ORDER=2, B_ORDER=2, A_2_0=3e-4, B_1_1=2e-4
    )
    if axes > 2:
        cards["CTYPE3"], cards["CRPIX3"], cards["CRVAL3"] = "FREQ", 1.0, 1e9
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.ones((256, 256)).reshape((1,) * (axes - 2) + (256, 256)), cards).writeto(
        path
    )
    image = open_image(path)
    assert image.wcs is not None
    assert image.wcs.naxis == 2
    found = pixel_to_skycoord(*PLACES.T, image.wcs, 0)
    assert found.separation(by_hand(bend=bent)).deg.max() / STEP < 2e-3


def test_the_case_of_a_cube_of_one_plane(shared_data):
    image = open_image(shared_data.parent / "cases" / "cavities" / "sip_naxis3.fits.gz")
    found = pixel_to_skycoord(*PLACES.T, image.wcs, 0)
    assert found.separation(by_hand(bend=bent)).deg.max() / STEP < 2e-3


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"RADESYS": "GAPPT"}, "RADESYS.*GAPPT"),
        ({"RADESYS": "sky"}, "RADESYS.*sky"),
        ({"EQUINOX": "of date"}, "EQUINOX.*of date"),
        ({"CTYPE1": "HLON-TAN", "CTYPE2": "HLAT-TAN"}, "HLON"),
        ({"CTYPE1": "TLON-TAN", "CTYPE2": "TLAT-TAN"}, "TLON"),
        ({"CTYPE1": "SLON-CAR", "CTYPE2": "SLAT-CAR"}, "zenithal"),
        ({"CDELT1": None, "CDELT2": None}, "a scale"),
        ({"CDELT2": None}, "a scale"),
        ({"CDELT1": 0.0}, "a scale"),
        ({"CDELT1": 5.0, "CDELT2": 5.0}, "smaller than the sky"),
        ({"CROTA1": 30.0}, "CROTA1 30"),
        ({"CROTA2": 30.0, "PC1_1": 1.0, "PC2_2": 1.0}, "CROTA or PC"),
        ({"CD1_1": -STEP}, "usable|inverted"),
        ({"CD1_1": -STEP, "CD2_2": STEP, "PC1_2": 0.1}, "CD or PC"),
        ({"CUNIT1": "pixel"}, "CUNIT1.*pixel"),
        ({"CTYPE1": "FREQ", "CTYPE2": "RA---TAN", "CTYPE3": "DEC--TAN"}, "two celestial axes"),
        ({"CTYPE2": "Y"}, "two celestial axes"),
        ({"CTYPE3": "FREQ", "CRPIX3": 4.0, "PC1_3": 0.3}, "axis 3"),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "WCS that fails"),
        ({"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2,
          "A_2_0": 0.05}, "inverted|fails"),
    ],
    ids=str,
)  # fmt: skip
def test_what_would_be_wrong_is_refused(cards, message):
    with pytest.raises(InputError, match=message):
        read_celestial("image.fits", header(**cards), (256, 256))


def test_no_celestial_axes_is_no_error():
    assert read_celestial("image", fits.Header({"CTYPE1": "x", "CTYPE2": "y"}), (9, 9)) is None
    assert read_celestial("image", fits.Header(), (9, 9)) is None


def test_the_wcs_of_a_ccd_data():
    wcs = WCS(header(RADESYS="J2000"))
    found = open_image(CCDData(np.ones((256, 256)), unit="count", wcs=wcs)).wcs
    here = pixel_to_skycoord(*PLACES.T, found, 0).icrs
    assert here.separation(by_hand("fk5")).deg.max() / STEP < 2e-3
    assert wcs.wcs.radesys == "J2000"  # the user's own is left as it was
