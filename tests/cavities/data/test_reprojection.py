"""Maps on other pixels than the image's: known functions of the sky, seen on both grids."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS
from fakes.cavities import beta_image, tan_wcs

from physml.cavities.data.loading import load_observation
from physml.cavities.data.reprojection import lay_on_image
from physml.exceptions import InputError
from physml.io.fits import ImageData, open_image

SHAPE = (140, 150)
PIXEL = 1.0
IMAGE = tan_wcs(SHAPE, PIXEL)
COUNTS = beta_image(SHAPE, total=3e4)


def surface(wcs, shape):
    """Smooth function of the sky [1]: a tilted plane with a bump, at the centres of pixels."""
    x, y = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    there = IMAGE.world_to_pixel(wcs.pixel_to_world(x, y))
    u, v = (there[0] - 75) / 75, (there[1] - 70) / 70
    return 3 + 0.5 * u - 0.3 * v + 0.4 * np.exp(-(u**2 + v**2) / 0.3)


def grid(kind):
    """WCS and shape of a map: larger than the image, so that it covers all of it."""
    options = {
        "shifted": ((180, 190), {}),
        "mirrored": ((260, 260), {}),
        "rotated": ((260, 260), {"rotation": 37.0}),
        "coarse": ((60, 64), {"pixel": 4.0}),
        "fine": ((500, 520), {"pixel": 0.4}),
        "rectangular": ((190, 260), {"stretch": 1.3}),
    }[kind]
    shape, more = options
    wcs = tan_wcs(shape, **{"pixel": PIXEL, **more})
    wcs.wcs.crpix = [shape[1] / 2 + 3.7, shape[0] / 2 - 2.2]
    if kind == "mirrored":
        wcs.wcs.cd = wcs.wcs.cd @ np.diag([-1, 1])
    wcs.wcs.set()
    return wcs, shape


KINDS = ("shifted", "mirrored", "rotated", "coarse", "fine", "rectangular")


def laid(data, wcs, role="exposure"):
    return lay_on_image(ImageData(data, fits.Header(), wcs), "map.fits", role, COUNTS, IMAGE)


@pytest.mark.parametrize("kind", KINDS)
def test_an_exposure_keeps_its_value(kind):
    wcs, shape = grid(kind)
    found = laid(surface(wcs, shape), wcs)
    assert "reprojected" in found.remark
    assert "covers" not in found.remark
    np.testing.assert_allclose(found.data, surface(IMAGE, SHAPE), rtol=4e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_background_counts_keep_their_sum(kind):
    wcs, shape = grid(kind)
    area = abs(np.linalg.det(wcs.wcs.cd)) / abs(np.linalg.det(IMAGE.wcs.cd))
    found = laid(0.1 * area * surface(wcs, shape), wcs, "background")
    expected = 0.1 * surface(IMAGE, SHAPE)
    np.testing.assert_allclose(found.data, expected, rtol=8e-3)
    assert found.data.sum() == pytest.approx(expected.sum(), rel=2e-3)


@pytest.mark.parametrize("kind", ["mirrored", "rotated", "fine"])
def test_edges_of_a_chip_stay_where_they_are(kind):
    """Half of the sky was not observed: the edge is right to a pixel."""
    wcs, shape = grid(kind)
    x, y = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    dark = IMAGE.world_to_pixel(wcs.pixel_to_world(x, y))[0] > 90.5
    found = laid(np.where(dark, 0.0, 2e4), wcs).data
    X = np.indices(SHAPE)[1]
    assert (found[X < 89] > 1.99e4).all()
    assert (found[X > 91] == 0).all()


def test_a_mask_takes_the_nearest_pixel():
    wcs, shape = grid("rotated")
    x, y = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    there = IMAGE.world_to_pixel(wcs.pixel_to_world(x, y))
    disc = np.hypot(there[0] - 60, there[1] - 50) < 12
    found = laid(disc.astype(float), wcs, "mask").data
    assert set(np.unique(found)) == {0.0, 1.0}
    Y, X = np.indices(SHAPE)
    distance = np.hypot(X - 60, Y - 50)
    assert found[distance < 11].all()
    assert not found[distance > 13].any()


def test_the_same_grid_is_left_alone():
    data = np.random.default_rng(1).uniform(size=SHAPE)
    found = laid(data, IMAGE)
    assert found.data is data
    assert found.remark is None
    # A frame that differs by milliarcseconds is the same grid.
    other = IMAGE.deepcopy()
    other.wcs.radesys, other.wcs.equinox = "FK5", 2000.0
    other.wcs.set()
    assert laid(data, other).data is data


@pytest.mark.parametrize("side", ["map", "image"])
def test_without_celestial_coordinates_the_shape_decides(side):
    data = np.ones(SHAPE)
    wcs = {"map": (None, IMAGE), "image": (IMAGE, None)}[side]
    given = ImageData(data, fits.Header(), wcs[0])
    assert lay_on_image(given, "m", "exposure", COUNTS, wcs[1]).data is data
    smaller = ImageData(data[:100], fits.Header(), wcs[0])
    with pytest.raises(InputError, match=f"150 x 140 pixels, as the {side} has no.*150 x 100"):
        lay_on_image(smaller, "m", "exposure", COUNTS, wcs[1])


def test_a_map_that_covers_a_part_says_so():
    wcs = IMAGE[:, 30:]  # the first thirty columns are not on it
    data = np.full((SHAPE[0], SHAPE[1] - 30), 5.0)
    found = laid(data, wcs)
    assert np.isnan(found.data[:, :29]).all()
    np.testing.assert_allclose(found.data[:, 30:], 5.0)
    assert "80.0% of the pixels" in found.remark
    assert "not observed" in found.remark


def test_a_map_of_another_place_is_refused():
    far = tan_wcs(SHAPE, PIXEL, ra=225.3, dec=40.0)
    behind = tan_wcs(SHAPE, PIXEL, ra=45.3, dec=-1.7)
    for wcs in (far, behind):
        for role in ("exposure", "background", "mask"):
            with pytest.raises(InputError, match=r"map\.fits.*covers 0%.*same observation"):
                laid(np.ones(SHAPE), wcs, role)


def test_the_case_of_a_mirrored_map(shared_data):
    cases = shared_data.parent / "cases" / "cavities"
    image = open_image(cases / "gap_counts.fits.gz")
    right = open_image(cases / "gap_exp.fits.gz")
    mirrored = open_image(cases / "gap_exp_mirrored.fits.gz")
    assert isinstance(mirrored.wcs, WCS)
    found = lay_on_image(mirrored, "m", "exposure", image.data, image.wcs).data
    # The image is centred on its reference, so that mirroring is a flip.
    covered = np.isfinite(found)
    assert covered.mean() > 0.99
    np.testing.assert_array_equal(found[covered] == 0, right.data[covered] == 0)
    off = np.abs(found - right.data)[covered] / 2e4
    assert off.max() < 0.04  # beside the gap the planes of the two projections differ
    assert (off > 1e-6).mean() < 0.02


def test_an_observation_takes_maps_on_other_pixels():
    wcs, shape = grid("coarse")
    area = abs(np.linalg.det(wcs.wcs.cd)) / abs(np.linalg.det(IMAGE.wcs.cd))
    exposure, background = surface(wcs, shape), 0.1 * area * surface(wcs, shape)
    image = CCDData(COUNTS, unit="count", wcs=IMAGE)
    maps = {
        "exposure": CCDData(exposure, unit="s", wcs=wcs),
        "background": CCDData(background, unit="count", wcs=wcs),
    }
    observation = load_observation(image, **maps)
    expected = surface(IMAGE, SHAPE)
    ratio = observation.relative_exposure / (expected / expected.max())
    assert ratio.std() < 4e-3
    # Its scale floats within the error of such maps, so that its shape is what is left of it.
    found = observation.background / (0.1 * expected)
    np.testing.assert_allclose(found, np.median(found), rtol=8e-3)
    assert sum("reprojected" in text for text in observation.remarks) == 2
