"""Masks in FITS: region tables as CIAO writes them, and images of 0 and 1."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from fakes.cavities import beta_image, tan_wcs, write_fits

from physml.cavities.data.masks import read_mask
from physml.exceptions import InputError
from physml.io.fits import open_image

SHAPE = (140, 150)
COUNTS = beta_image(SHAPE, total=3e4)
WCS = tan_wcs(SHAPE, pixel=2.0)
Y, X = np.indices(SHAPE)
#: image = 0.5 physical - 1000 and - 1900.
HEADER = fits.Header({"LTM1_1": 0.5, "LTM2_2": 0.5, "LTV1": -1000.0, "LTV2": -1900.0})


def disc(x, y, radius):
    return (X - x) ** 2 + (Y - y) ** 2 < radius**2


def table(tmp_path, rows, units=("", "", "", ""), names=("X", "Y"), component=None, n=2, gz=False):
    """Region table of rows (shape, x, y, radii, angles)."""

    def padded(values, length):
        values = np.atleast_1d(np.asarray(values, float))
        return np.append(values, np.full(length - len(values), values[-1] if n > 2 else 0.0))[
            :length
        ]

    vertices = max(np.size(row[1]) for row in rows)
    columns = [
        fits.Column("SHAPE", "16A", array=[row[0] for row in rows]),
        *(
            fits.Column(names[k - 1], f"{vertices}D", unit=units[k - 1] or None,
                        array=np.squeeze([padded(row[k], vertices) for row in rows], axis=None)
                        .reshape(len(rows), vertices))
            for k in (1, 2)
        ),
        fits.Column("R", "2D", unit=units[2] or None,
                    array=np.array([np.append(row[3], [0, 0])[:2] for row in rows], float)),
        fits.Column("ROTANG", "2D",
                    array=np.array([np.append(row[4], [0, 0])[:2] for row in rows], float)),
    ]  # fmt: skip
    if component is not None:
        columns.append(fits.Column("COMPONENT", "J", array=component))
    path = tmp_path / ("mask.fits.gz" if gz else "mask.reg")
    hdu = fits.BinTableHDU.from_columns(columns, name="REGION")
    hdu.header["HDUCLASS"], hdu.header["HDUCLAS1"] = "ASC", "REGION"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return path


def read(path, wcs=WCS, header=HEADER):
    return read_mask(path, COUNTS, wcs, header)


CIRCLE = ("circle", 2062.0, 3842.0, [11.0], [0.0])  # image 31, 21, radius 5.5


@pytest.mark.parametrize("name", ["circle", "CIRCLE", "Circle", "!circle", "! Circle"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_circle_in_physical_pixels(tmp_path, name, packed):
    path = table(tmp_path, [(name, *CIRCLE[1:])], gz=packed)
    np.testing.assert_array_equal(read(path).pixels, disc(30, 20, 5.5))


def test_shapes_of_a_table(tmp_path):
    rows = [
        ("ellipse", 2142.0, 3902.0, [41.0, 17.0], [0.0]),  # image 71, 51
        ("rotbox", 2242.0, 3842.0, [21.0, 43.0], [90.0]),  # image 121, 21
        ("annulus", 2062.0, 4022.0, [9.0, 21.0], [0.0]),  # image 31, 111
        ("pie", 2242.0, 4022.0, [0.0, 33.0], [0.0, 90.0]),  # image 121, 111
    ]
    corner = (X >= 120) & (Y >= 110) & disc(120, 110, 16.5)
    expected = (
        ((X - 70) ** 2 / 20.5**2 + (Y - 50) ** 2 / 8.5**2 < 1)
        | ((abs(X - 120) < 10.75) & (abs(Y - 20) < 5.25))
        | (disc(30, 110, 10.5) & ~disc(30, 110, 4.5))
        | corner
    )
    found = read(table(tmp_path, rows))
    assert (found.pixels != expected).sum() <= 2
    assert found.remarks == []


def test_polygons_are_padded(tmp_path):
    rows = [
        ("polygon", [2021.0, 2101.0, 2101.0], [3821.0, 3821.0, 3901.0], [0.0], [0.0]),
        ("polygon", [2201.0, 2241.0, 2241.0, 2201.0], [3821.0, 3821.0, 3861.0, 3861.0], [0], [0]),
    ]
    found = read(table(tmp_path, rows, n=3)).pixels
    assert found.sum() == pytest.approx(40 * 40 / 2 + 20 * 20, rel=0.05)
    zeros = read(table(tmp_path, rows, n=2)).pixels  # padded with zeros instead
    np.testing.assert_array_equal(found, zeros)


def test_components_are_joined_by_and(tmp_path):
    rows = [CIRCLE, ("!circle", 2062.0, 3842.0, [5.0], [0.0]), ("circle", 2162, 3902, [9.0], [0])]
    found = read(table(tmp_path, rows, component=[1, 1, 2]))
    expected = (disc(30, 20, 5.5) & ~disc(30, 20, 2.5)) | disc(80, 50, 4.5)
    assert (found.pixels != expected).sum() <= 4  # pixels on the inner edge
    assert found.remarks == []
    alone = read(table(tmp_path, rows))
    np.testing.assert_array_equal(alone.pixels, found.pixels)
    assert "cut out" in alone.remarks[0]


@pytest.mark.parametrize("names", [("X", "Y"), ("RA", "DEC")])
def test_positions_on_the_sky(tmp_path, names):
    place = WCS.pixel_to_world(30, 20)
    row = ("circle", place.ra.deg, place.dec.deg, [11.5 / 3600], [0.0])
    path = table(tmp_path, [row], ("deg", "deg", "deg", ""), names)
    np.testing.assert_array_equal(read(path).pixels, disc(30, 20, 5.75))
    path = table(tmp_path, [(*row[:3], [11.5], [0.0])], ("deg", "deg", "arcsec", ""), names)
    np.testing.assert_array_equal(read(path).pixels, disc(30, 20, 5.75))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("banana", 2062.0, 3842.0, [1.0], [0.0]), "row 1.*banana"),
        (("circle", 2062.0, 3842.0, [-1.0], [0.0]), "row 1.*negative"),
        (("circle", np.nan, 3842.0, [1.0], [0.0]), "row 1.*circle"),
        (("point", 2062.0, 3842.0, [1.0], [0.0]), "row 1.*point"),
        (("circle", 62.0, 3842.0, [1.0], [0.0]), "all outside"),
    ],
)
def test_rows_that_are_no_regions(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        read(table(tmp_path, [row]))
    with pytest.raises(InputError, match="X, Y or RA, DEC"):
        read(table(tmp_path, [CIRCLE], names=("U", "V")))
    with pytest.raises(InputError, match="sizes in pixels"):
        read(table(tmp_path, [CIRCLE], ("", "", "keV", "")))


SOURCES = disc(30, 20, 9) | disc(110, 100, 6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_a_mask_of_sources(tmp_path, dtype):
    path = write_fits(tmp_path / "mask.fits", SOURCES.astype(dtype), WCS)
    found = read(path)
    np.testing.assert_array_equal(found.pixels, SOURCES)
    assert found.remarks == []


def test_an_inverted_mask_is_recognised_and_said(tmp_path):
    path = write_fits(tmp_path / "cheese.fits", (~SOURCES).astype(np.uint8), WCS)
    found = read(path)
    np.testing.assert_array_equal(found.pixels, SOURCES)
    assert "1 is taken for good pixels" in found.remarks[0]


def test_numbered_sources_and_undefined_pixels(tmp_path):
    numbers = disc(30, 20, 9) + 2.0 * disc(110, 100, 6)
    numbers[0, :5] = np.nan
    found = read(write_fits(tmp_path / "segments.fits", numbers, WCS))
    np.testing.assert_array_equal(found.pixels, SOURCES)
    assert len(found.remarks) == 2


def test_a_mask_on_other_pixels_is_laid_on_the_image(tmp_path):
    shape = (280, 300)
    wcs = tan_wcs(shape, pixel=1.0, rotation=25.0)
    wcs.wcs.crpix = [150.5, 140.5]
    wcs.wcs.set()
    x, y = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    there = WCS.world_to_pixel(wcs.pixel_to_world(x, y))
    mask = np.hypot(there[0] - 80, there[1] - 60) < 9
    found = read(write_fits(tmp_path / "mask.fits", mask.astype(np.uint8), wcs))
    assert (found.pixels != disc(80, 60, 9)).sum() < 0.1 * disc(80, 60, 9).sum()
    assert "reprojected" in found.remarks[0]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (X < 75, "smaller part"),  # half
        (disc(74, 69, 40), "smaller part"),  # the cluster: an area of analysis
        (~disc(74, 69, 40), "smaller part"),
        (np.minimum(COUNTS, 5), "numbered sources, each"),
        (COUNTS / 7, "numbered sources"),
        (SOURCES - 1.0, "numbered sources"),
    ],
)
def test_what_is_no_mask_of_sources(tmp_path, mask, message):
    path = write_fits(tmp_path / "mask.fits", np.asarray(mask, np.float32), WCS)
    with pytest.raises(InputError, match=message):
        read(path)


def test_a_mask_of_another_shape_without_wcs(tmp_path):
    path = write_fits(tmp_path / "mask.fits", SOURCES[:100].astype(np.uint8))
    with pytest.raises(InputError, match=r"150 x 140 pixels.*150 x 100"):
        read(path)
    np.testing.assert_array_equal(read(write_fits(path, SOURCES.astype(np.uint8))).pixels, SOURCES)


def test_the_cases_in_fits(shared_data):
    cases = shared_data.parent / "cases" / "cavities"
    base = open_image(cases / "base.fits.gz")
    found = read_mask(cases / "mask_image.fits.gz", base.data, base.wcs, base.header)
    assert found.pixels.sum() == 317
    physical = open_image(cases / "physical_P.fits.gz")
    found = read_mask(cases / "fits_region.reg", physical.data, physical.wcs, physical.header)
    # Image = (physical - 201) / 2 + 0.5 + ...: (60, 200), radius 10, as the region in text.
    Y, X = np.indices((256, 256))
    np.testing.assert_array_equal(found.pixels, (X - 59) ** 2 + (Y - 199) ** 2 < 100)
